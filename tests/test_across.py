"""Retrieval across modalities."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmhash.across import SHEET_ITEMS, evaluate_across, side_codes
from mmhash.features import Dataset
from mmhash.metrics.retrieval import retrieval_metrics
from mmhash.metrics.tasks import TASKS
from mmhash.models.config import (
    AlignConfig,
    ClassifierConfig,
    FusionConfig,
    HashConfig,
    ModelConfig,
)
from mmhash.models.cross_modal import CrossModalConfig, CrossModalHasher, PairCodes
from mmhash.models.tagger import Tagger, build_tagger
from mmhash.training.batches import Features

CPU = torch.device("cpu")


def dataset(image_dim: int = 8, text_dim: int = 8) -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.eye(4, dtype=np.uint8)[np.arange(60) % 4]
    hidden = labels.astype(np.float32) @ rng.normal(size=(4, 8)).astype(np.float32)
    image, text = (
        (hidden + 0.3 * rng.normal(size=hidden.shape))[:, :dim].astype(np.float32)
        for dim in (image_dim, text_dim)
    )
    return Dataset(
        features=Features(image, text, np.arange(61), labels),
        image_id=np.arange(60),
        split=np.repeat(["train", "val", "test"], [40, 8, 12]),
        categories=list("abcd"),
        prototypes=None,
        meta={},
    )


def tagger(
    fusion: str = "hadamard_with_magnitude",
    projection: bool = True,
    text_dim: int = 8,
    inputs="both",
    hashed: bool = True,
) -> Tagger:
    config = ModelConfig(
        name="full",
        image_dim=8,
        text_dim=text_dim,
        num_classes=4,
        fusion=FusionConfig(type=fusion, mlp_dims=(16,)),
        hash=HashConfig(enabled=hashed, bits=16),
        classifier=ClassifierConfig(prior_init=False),
        align=AlignConfig(projection=projection),
        inputs=inputs,
    )
    return build_tagger(config, 0).eval()


class Signs(CrossModalHasher):
    """The first 8 values as codes, the fused code their sum; ``mixing`` lets rows see the mean."""

    def __init__(self, mixing: bool = False) -> None:
        super().__init__(CrossModalConfig("signs", 8, 8, 8))
        self.register_buffer("anchor", torch.zeros(1))
        self.mixing = mixing

    def forward(self, image, text, scale=1.0):
        if self.mixing:
            image = image - 3 * image.mean(dim=0)
        return PairCodes(image.tanh(), text.tanh(), (image + text).tanh())


def test_each_task_asks_one_side_and_searches_the_other() -> None:
    data = dataset()
    figures, curves, _ = evaluate_across(Signs(), data, 1.0, CPU)
    rows, items = data.rows("test"), data.database_rows()
    packed = {
        name: np.packbits(getattr(data.features, name) >= 0, axis=1, bitorder="little")
        for name in ("image", "text")
    }
    labels = data.features.labels
    for task, ask, answer in (
        ("image_to_text", "image", "text"),
        ("text_to_image", "text", "image"),
    ):
        expected = retrieval_metrics(
            packed[ask][rows], labels[rows], packed[answer][items], labels[items]
        )
        assert figures["test"][task] == expected
    assert set(figures) == {"val", "test", "leak"}
    assert curves["test"].num_rows == 5 * 9


def test_a_hasher_whose_rows_see_each_other_is_reported_as_leaking() -> None:
    clean, _, _ = evaluate_across(Signs(), dataset(), 1.0, CPU)
    mixed, _, _ = evaluate_across(Signs(mixing=True), dataset(), 1.0, CPU)
    assert set(clean["leak"].values()) == {0.0}
    assert mixed["leak"]["image_batch_mates"] > 0
    assert mixed["leak"]["text_batch_mates"] == 0


def test_the_main_method_is_left_out_unless_asked_for() -> None:
    figures, curves, sheet = evaluate_across(tagger(), dataset(), 1.0, CPU, always=False)
    assert figures == {}
    assert sheet.num_rows == 0
    assert curves["test"].num_rows == 0
    figures, curves, _ = evaluate_across(tagger(), dataset(), 1.0, CPU)
    assert set(figures) == {"val", "test"}
    assert curves["val"].column_names == curves["test"].column_names
    assert curves["test"].num_rows == 5 * 17


@pytest.mark.parametrize(
    ("settings", "text_dim", "shares"),
    [
        ({}, 8, True),
        ({"projection": False}, 8, True),
        ({"text_dim": 5}, 5, True),
        ({"text_dim": 5, "projection": False}, 5, False),
        ({"fusion": "concat", "text_dim": 5}, 5, False),
        ({"inputs": "image"}, 8, False),
    ],
)
def test_one_modality_stands_for_the_other_where_they_share_a_space(
    settings: dict, text_dim: int, shares: bool
) -> None:
    model, data = tagger(**settings), dataset(text_dim=text_dim)
    assert model.shares_space == shares
    figures, _, _ = evaluate_across(model, data, 1.0, CPU)
    assert bool(figures) == shares


def test_the_image_code_of_the_main_method_does_not_see_the_text() -> None:
    data, rows = dataset(), np.arange(10)
    model = tagger()
    before = side_codes(model, data, rows, 1.0, CPU)
    data.features.text[:] = np.roll(data.features.text, 1, axis=0)
    after = side_codes(model, data, rows, 1.0, CPU)
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before["image"], after["image"])
    assert not np.array_equal(before["text"], after["text"])
    assert not np.array_equal(before["fused"], after["fused"])


def test_the_fused_code_of_the_main_method_is_its_own_code() -> None:
    model, data = tagger(), dataset()
    image, text = torch.from_numpy(data.features.image), torch.from_numpy(data.features.text)
    with torch.no_grad():
        expected = model(image, text, 2.0).h
        found = model.sides(image, text, 2.0).fused
    assert expected is not None
    assert torch.equal(found, expected)


@pytest.mark.parametrize("model", [None, tagger(hashed=False)])
def test_without_a_hash_layer_sides_are_compared_by_cosine(model) -> None:
    figures, curves, _ = evaluate_across(model, dataset(), 1.0, CPU)
    assert figures["test"]["fused_to_fused"]["mAP@all"] > 0.5
    assert "radius2_recall" not in figures["test"]["image_to_text"]
    assert curves["test"].num_rows == 0


def test_the_sheet_holds_the_nearest_items_of_evenly_spaced_queries_ties_by_row() -> None:
    data = dataset()
    _, _, sheet = evaluate_across(Signs(), data, 1.0, CPU)
    rows, items = data.rows("test"), data.database_rows()
    bits = {name: getattr(data.features, name) >= 0 for name in ("image", "text")}
    expected = []
    for task, (ask, answer, *_) in list(TASKS.items())[:2]:
        for query, row in enumerate(rows[[0, 3, 6, 8, 11]], start=1):
            distance = (bits[ask][row] != bits[answer][items]).sum(axis=1)
            order = sorted(range(len(items)), key=lambda i: (distance[i], i))[:SHEET_ITEMS]
            expected += [
                {
                    "task": task,
                    "query": query,
                    "query_id": row,
                    "rank": rank,
                    "item_id": items[i],
                    "distance": distance[i],
                    "shared": data.features.labels[row] @ data.features.labels[items[i]],
                }
                for rank, i in enumerate(order, start=1)
            ]
    assert sheet.to_pylist() == expected
    assert 0 < sum(row["shared"] > 0 for row in expected) < len(expected)


def test_the_sheet_of_real_vectors_is_ranked_by_cosine() -> None:
    data = dataset()
    _, _, sheet = evaluate_across(None, data, 1.0, CPU)
    first = sheet.to_pylist()[0]
    query, base = data.features.image[data.rows("test")[0]], data.features.text
    cosine = base[data.database_rows()] @ query / np.linalg.norm(base[:40], axis=1)
    cosine = cosine / np.linalg.norm(query)
    assert (first["rank"], first["item_id"]) == (1, cosine.argmax())
    assert first["distance"] == pytest.approx(1 - cosine.max(), abs=2e-6)
    assert sheet.num_rows == 2 * 5 * SHEET_ITEMS


def test_a_small_split_and_a_small_database_give_a_small_sheet() -> None:
    whole = dataset()
    split = np.array(["unused"] * 60, dtype=object)
    split[:4], split[4:6], split[6:9] = "train", "val", "test"
    _, _, sheet = evaluate_across(None, replace(whole, split=split), 1.0, CPU)
    assert sheet.num_rows == 2 * 3 * 4
    assert max(sheet["rank"].to_pylist()) == 4


def test_retrieval_at_chance_is_called_so(caplog) -> None:
    class Same(Signs):
        def forward(self, image, text, scale=1.0):
            return PairCodes(*(torch.ones_like(image) for _ in range(3)))

    evaluate_across(Same(), dataset(), 1.0, CPU)
    assert "test image to text: mAP" in caplog.text
    assert "is at chance" in caplog.text
    caplog.clear()
    evaluate_across(Signs(), dataset(), 1.0, CPU)
    assert "chance" not in caplog.text
