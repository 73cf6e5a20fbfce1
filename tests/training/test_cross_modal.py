"""Cross-modal hashers in the loop: they learn, resume and are as deterministic as the tagger."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from mmhash.errors import InputError
from mmhash.losses.total import LossWeights
from mmhash.models import ucmfh
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.hashers import method_settings
from mmhash.models.health import agch_complaints
from mmhash.models.weights import load_tagger
from mmhash.training.batches import Features
from mmhash.training.cross_modal import CrossModalRun, mean_across
from mmhash.training.encode import caption_owners, encode_sides
from mmhash.training.settings import TrainingData

from .conftest import make_settings

SMALL = {
    "agch": {"hidden": 32, "graph_dims": [16], "batch_size": 8, "lr_image": 0.01},
    "ucmfh": {"hidden": 32, "batch_size": 8},
}


@pytest.fixture(scope="module")
def blocks(repository) -> dict:
    text = (repository / "params.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


@pytest.fixture
def config(blocks):
    def make(name: str, **changes) -> CrossModalConfig:
        block = {**blocks[name], **SMALL[name], "num_epochs": 5, **changes}
        settings = method_settings(name, block, "sample")
        return CrossModalConfig(name, 12, 12, 16, settings, num_classes=5)

    return make


def settings_of(model: CrossModalConfig, **values):
    epochs = model.settings["num_epochs"]
    return {
        "batch_size": model.settings["batch_size"],
        "num_epochs": epochs,
        "early_stopping_patience": epochs,
        "gradient_accumulation_steps": 1,
        "amp": False,
        **values,
    }


@pytest.mark.parametrize("name", SMALL)
def test_a_training_writes_what_the_taggers_writes_and_beats_chance(bench, config, name):
    model = config(name, num_epochs=12)
    summary = bench.train(model=model, **settings_of(model))
    written = {file.split("-")[0] for file in bench.files() if file.startswith("top/")}
    assert written == {"top/epoch" + w.removeprefix("top/epoch") for w in written}
    assert written
    for file in ("best.safetensors", "last.safetensors", "config.json", "history.csv"):
        assert (bench.folder / "run" / file).is_file()
    assert json.loads((bench.folder / "run/config.json").read_text())["model"]["name"] == name
    labels = bench.data.features.labels.astype(int)
    chance = (labels[bench.data.val_rows] @ labels[bench.data.train_rows].T > 0).mean()
    assert summary.best_val_mAP > chance + 0.02
    assert summary.epochs_run == 12
    assert summary.precision == "float32"


@pytest.mark.parametrize("name", SMALL)
def test_a_resumed_training_ends_with_the_same_bytes(bench, config, name, device):
    model = config(name)
    values = settings_of(model, device=device)
    bench.train("undisturbed", model=model, **values)

    def stop_after_epoch_2(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.train("killed", stop_after_epoch_2, model=model, **values)
    summary = bench.train("killed", model=model, **values)
    assert summary.epochs_run == 5
    assert bench.files("killed") == bench.files("undisturbed")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("agch", {}),
        ("agch", {"step": "alternating", "optimizer": "adam"}),
        ("ucmfh", {"dropout": 0.0, "attention": "sample"}),
    ],
)
def test_codes_of_val_learnt_on_each_device_are_near_the_cpus(
    bench, config, name, changes, device, monkeypatch
):
    monkeypatch.setattr(ucmfh, "ENCODER_DROPOUT", 0.0)  # no draw: a GPU's are not those of a CPU
    model = config(name, num_epochs=3, **changes)
    found = {}
    for place in ("cpu", device):
        bench.train(place, model=model, device=place, **settings_of(model))
        hasher, scale = load_tagger(bench.folder / place, "last.safetensors")
        owners = caption_owners(bench.data.features, bench.data.val_rows, "first")
        found[place] = encode_sides(hasher, bench.data.features, *owners, scale, device=place)
    for side, codes in found["cpu"].items():
        # Rounding noise of 1e-5 in the first weights moves no code by 1e-3.
        np.testing.assert_allclose(found[device][side], codes, rtol=0, atol=0.01)


def test_the_random_state_of_the_caller_is_left_alone(bench, config):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = config("ucmfh")
    bench.train(model=model, **settings_of(model))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_alternating_step_moves_every_network_in_turn(bench, config):
    joint, turns = config("agch"), config("agch", step="alternating")
    bench.train("joint", model=joint, **settings_of(joint))
    bench.train("turns", model=turns, **settings_of(turns))
    one, other = (load_tagger(bench.folder / name)[0] for name in ("joint", "turns"))
    assert one is not None
    assert other is not None
    for name, tensor in one.state_dict().items():
        if tensor.dtype.is_floating_point and tensor.ndim == 2:
            assert not torch.equal(tensor, other.state_dict()[name]), name


def test_the_history_holds_the_terms_the_codes_and_the_methods_own_figures(bench, config):
    model = config("agch")
    bench.train(model=model, **settings_of(model))
    with (bench.folder / "run/history.csv").open() as stream:
        columns = set(next(csv.reader(stream)))
    assert {"loss", "loss_l1", "loss_l2", "loss_l3", "val_mAP", "val_unique_share"} <= columns
    assert {"s_label_correlation", "s_gap", "graph_weight_std", "it_distance"} <= columns


def test_a_collapsed_run_says_so_with_the_likely_cause(bench, config):
    rates = dict.fromkeys(("lr_text", "lr_image", "lr_graph", "lr_fusion"), 1e-12)
    model = config("agch", text_normalisation=True, **rates)
    features = bench.data.features
    flat = Features(
        np.full_like(features.image, 0.5) + (np.arange(len(features.image)) % 2)[:, None],
        np.full_like(features.text, 0.5) + (np.arange(len(features.text)) % 2)[:, None],
        features.caption_offset,
        features.labels,
    )
    summary = bench.train(
        model=model, data=replace(bench.data, features=flat), **settings_of(model)
    )
    assert any("collapsed" in note for note in summary.notes)


def test_the_pairwise_loss_is_added_with_its_weight(bench, config):
    model = config("ucmfh")
    rows = {}
    for weight in (0.0, 0.5):
        weights = LossWeights(pairwise_weight=weight)
        bench.train(f"w{weight}", model=model, weights=weights, **settings_of(model))
        rows[weight] = bench.rows[0]
    assert "loss_pairwise" not in rows[0.0]
    parts = ("loss_fusion", "loss_codes")
    rest = rows[0.5]["loss"] - 0.5 * rows[0.5]["loss_pairwise"]
    assert rest == pytest.approx(
        rows[0.5][parts[0]] + model.settings["code_weight"] * rows[0.5][parts[1]], rel=1e-5
    )


def test_fewer_rows_than_a_batch_are_refused(bench, config):
    model = config("agch", batch_size=1000)
    with pytest.raises(InputError, match=r"80 training rows .* lower agch\.batch_size = 1000"):
        bench.train(model=model, **settings_of(model))


def test_a_loss_that_is_not_finite_names_the_block_to_mend(bench, config):
    model = config("agch", lr_image=1e30, lr_text=1e30, lr_graph=1e30, lr_fusion=1e30)
    with pytest.raises(InputError, match=r"epoch \d step \d+: loss_\w+ is .* of the block agch"):
        bench.train(model=model, **settings_of(model))


def test_ucmfh_can_learn_from_a_part_of_the_pairs_and_says_its_protocol(bench, config):
    whole, part = config("ucmfh"), config("ucmfh", train_rows=20)
    runs = {
        name: CrossModalRun(
            bench.data,
            model,
            LossWeights(),
            make_settings(**settings_of(model)),
            torch.device("cpu"),
        )
        for name, model in (("whole", whole), ("part", part))
    }
    assert runs["whole"].rows is bench.data.train_rows
    assert len(runs["part"].rows) == len(set(runs["part"].rows)) == 20
    assert set(runs["part"].rows) <= set(bench.data.train_rows)
    assert runs["part"].steps_per_epoch == 2
    summary = bench.train(model=part, **settings_of(part))
    assert any(
        "a query brings image and text, and its code sees its batch" in n for n in summary.notes
    )


def test_memory_that_runs_out_names_the_methods_own_batch(bench, config, monkeypatch):
    def full(self, epoch):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(CrossModalRun, "epoch", full)
    model = config("ucmfh")
    with pytest.raises(InputError, match=r"set ucmfh\.batch_size lower"):
        bench.train(model=model, **settings_of(model, on_oom="halve"))


def test_codes_that_depend_on_their_batch_are_encoded_in_batches_of_the_training(bench, config):
    model = config("ucmfh", attention="batch")
    bench.train(model=model, **settings_of(model))
    hasher, scale = load_tagger(bench.folder / "run")
    features = bench.data.features
    rows = np.arange(20)
    owners = caption_owners(features, rows, "first")
    found = encode_sides(hasher, features, *owners, scale, batch=3)
    image = torch.from_numpy(features.image[:8].astype(np.float32))
    text = torch.from_numpy(features.text[features.caption_offset[:8]].astype(np.float32))
    with torch.no_grad():
        first = hasher(image, text, scale)
    np.testing.assert_allclose(found["image"][:8], first.image, atol=1e-6)


def test_mean_across_is_one_where_each_side_finds_its_own():
    codes = np.array([[0], [0], [255], [255]], dtype=np.uint8)
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.uint8)
    sides = {"image": codes, "text": codes}
    assert mean_across(sides, labels, sides, labels) == 1.0
    turned = {"image": codes[::-1].copy(), "text": codes}
    assert mean_across(turned, labels, sides, labels) < 0.75


def test_training_settings_come_from_the_methods_own_block(repository):
    from mmhash.experiment import cross_modal_config, train_settings
    from mmhash.params import load_params

    params = load_params(repository / "params.yaml")
    changed = params.model_copy(update={"model": params.model.model_copy(update={"name": "agch"})})
    model = cross_modal_config(changed, 12, 12, 5)
    assert cross_modal_config(params, 12, 12, 5) is None
    settings = train_settings(changed, model)
    assert settings.batch_size == 32
    assert settings.num_epochs == 40
    assert settings.early_stopping_patience == 40
    assert not settings.amp
    assert make_settings().batch_size == 8


@pytest.fixture(scope="module")
def sparse_text(real_data) -> TrainingData:
    """Texts and labels of 700 pairs of MIRFlickr-25K; the image vectors are drawn from the labels.

    A text has 4.7 of 1,386 words on average.
    """
    with np.load(real_data / "mirflickr25k" / "text_labels.npz") as stored:
        rng = np.random.default_rng(0)
        rows = np.sort(rng.choice(len(stored["bow_packed"]), 700, replace=False))
        text = np.unpackbits(stored["bow_packed"][rows], axis=1)[:, :1386]
        labels = np.unpackbits(stored["labels_packed"][rows], axis=1)[:, :24]
    image = labels @ rng.normal(size=(24, 64)) + rng.normal(size=(700, 64))
    features = Features(
        image.astype(np.float32), text.astype(np.float32), np.arange(701), labels.astype(np.uint8)
    )
    names = tuple(str(c) for c in range(24))
    return TrainingData(features, np.arange(560), np.arange(560, 700), names)


def test_sparse_text_of_length_one_collapses_with_the_papers_rates_unless_normalised_by_batch(
    sparse_text, blocks
):
    def last_row(**changes) -> dict[str, float]:
        block = {**blocks["agch"], "hidden": 128, "graph_dims": [64], "num_epochs": 6, **changes}
        settings = method_settings("agch", block, "mirflickr25k")
        model = CrossModalConfig("agch", 64, 1386, 32, settings, num_classes=24)
        run = CrossModalRun(
            sparse_text,
            model,
            LossWeights(),
            make_settings(**settings_of(model)),
            torch.device("cpu"),
        )
        for epoch in range(6):
            row, _ = run.epoch(epoch)
        return row

    dead = last_row(text_normalisation=True)
    assert dead["unique_text"] < 0.05
    assert any("text codes are different" in note for note in agch_complaints(dead))
    raw = last_row()
    assert raw["unique_text"] > 3 * dead["unique_text"]
    cured = last_row(
        text_normalisation=True, cures={**blocks["agch"]["cures"], "text_batch_norm": True}
    )
    assert cured["unique_text"] > 0.9
    assert cured["val_mAP"] > dead["val_mAP"] + 0.05
    assert not any("text codes are different" in note for note in agch_complaints(cured))
