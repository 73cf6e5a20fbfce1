import numpy as np
import pytest

from mmhash.features import Dataset
from mmhash.image_only import NEAREST, open_stand_ins, without_captions
from mmhash.training.batches import Features


def make_dataset(n: int = 60, seed: int = 0) -> Dataset:
    """Two captions an image; two thirds train, the rest val and test."""
    rng = np.random.default_rng(seed)
    features = Features(
        rng.normal(size=(n, 8)).astype(np.float32) * 5,
        rng.normal(size=(2 * n, 6)).astype(np.float16) * 3,
        np.arange(0, 2 * n + 1, 2),
        (rng.random((n, 4)) < 0.5).astype(np.uint8),
    )
    split = np.array(["train", "restval", "train", "val", "test", "train"])[np.arange(n) % 6]
    return Dataset(features, np.arange(100, 100 + n), split, list("abcd"), np.eye(4), {})


def test_stand_ins_are_those_of_the_definition() -> None:
    dataset = make_dataset()
    features, rows = dataset.features, dataset.training_rows()
    queries = features.image[dataset.rows("val")]
    found = open_stand_ins(dataset).texts(queries)
    for query, text in zip(queries.astype(np.float64), found, strict=True):
        images = features.image[rows].astype(np.float64)
        cosine = images @ query / np.linalg.norm(images, axis=1) / np.linalg.norm(query)
        nearest = rows[np.argsort(-cosine)[:NEAREST]]
        captions = features.text[2 * nearest].astype(np.float64)
        norms = np.linalg.norm(captions, axis=1)
        mean = (captions / norms[:, None]).mean(axis=0)
        np.testing.assert_allclose(
            text, mean / np.linalg.norm(mean) * norms.mean(), rtol=1e-4, atol=1e-5
        )


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset()
    stand_ins, queries = open_stand_ins(dataset), dataset.features.image[:20]
    whole = stand_ins.texts(queries)
    monkeypatch.setattr("mmhash.image_only.BLOCK_PRODUCTS", 3 * len(stand_ins.rows))
    np.testing.assert_allclose(stand_ins.texts(queries), whole, rtol=1e-5)


def test_only_training_captions_stand_in_and_nothing_of_the_pictures_own() -> None:
    dataset = make_dataset()
    val = dataset.rows("val", "test")
    before = without_captions(dataset)
    for row in val:  # captions of val and test are not looked at
        dataset.features.text[2 * row : 2 * row + 2] = 99
    after = without_captions(dataset)
    assert np.array_equal(before.features.text, after.features.text)


def test_val_and_test_keep_images_labels_and_ids() -> None:
    dataset = make_dataset()
    alone = without_captions(dataset)
    for split in ("val", "test"):
        old, new = dataset.rows(split), alone.rows(split)
        assert np.array_equal(dataset.image_id[old], alone.image_id[new])
        assert np.array_equal(dataset.features.labels[old], alone.features.labels[new])
        assert np.array_equal(dataset.features.image[old], alone.features.image[new])
    assert alone.prototypes is None


def test_fewer_training_pictures_than_neighbours_all_stand_in() -> None:
    dataset = make_dataset(6)
    assert len(dataset.training_rows()) < NEAREST
    text = open_stand_ins(dataset).texts(dataset.features.image[:2])
    np.testing.assert_allclose(text[0], text[1], rtol=1e-5)
    assert (np.linalg.norm(text, axis=1) > 1).all()
