import logging
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import SiglipConfig, SiglipModel

from mmhash.cli import doctor
from mmhash.cli.checkpoint import check_checkpoint
from mmhash.cli.doctor import EXPECTED, _batch, _memory, _sized, examine
from mmhash.cli.estimates import (
    extraction_seconds,
    synthetic_data,
    training_disk,
    training_memory,
    training_seconds,
)
from mmhash.cli.tower_estimates import TowerLoad
from mmhash.encoders.checkpoint import load_checkpoint
from mmhash.experiment import cross_modal_config, loss_weights, model_config, train_settings
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.hashers import build_hasher
from mmhash.models.shallow import fit_shallow
from mmhash.models.tagger import Tagger
from mmhash.params import Params, load_params, parse_params
from mmhash.training.checkpoint import Progress, save_state
from mmhash.training.cross_modal import CrossModalRun
from mmhash.training.loop import train
from mmhash.training.settings import Precision

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and the tiny checkpoints, in which nothing has run."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "encoders", tmp_path / "encoders")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def set_value(checkout: Path, old: str, new: str) -> None:
    path = checkout / "params.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_fresh_checkout_passes_on_a_cpu(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examine(timing=False)
    lines = capsys.readouterr().out.splitlines()
    names = {line.split(":")[0].split(maxsplit=1)[1] for line in lines}
    assert {"python", "torch", "faiss", "dataset", "checkpoint", "disk", "batch", "AMP"} <= names
    assert all(line.startswith(("ok", "warn")) for line in lines)


def test_absent_coco_fails_with_what_to_get(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_value(checkout, "dataset: sample", "dataset: coco2014")
    assert not examine(timing=False)
    shown = capsys.readouterr().out
    assert "fail  dataset: coco2014 is not complete" in shown
    assert "annotations_trainval2014.zip" in shown


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("image", np.zeros(4, dtype=np.float32), "image.npy: shape is (4,), must be (N, D)"),
        ("image", np.zeros((4, 3)), "image.npy: type is float64, must be float16 or float32"),
        ("labels", np.zeros((3, 2), dtype=np.uint8), "labels.npy: has 3 rows"),
    ],
)
def test_features_that_a_run_would_refuse_fail(
    checkout: Path, capsys: pytest.CaptureFixture[str], name: str, array: np.ndarray, said: str
) -> None:
    features_of_one_own(checkout)
    np.save(checkout / "data/features" / f"{name}.npy", array)
    assert not examine(timing=False)
    assert f"fail  dataset: features is not complete -> {checkout}" in (
        shown := capsys.readouterr().out
    )
    assert said in shown


def test_no_alignment_is_spoken_of_where_image_and_text_differ_in_width(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features_of_one_own(checkout)
    assert examine(timing=False)
    assert "ok    towers: frozen\n" in capsys.readouterr().out


def features_of_one_own(checkout: Path) -> None:
    """Let the run be one on four rows of features, images 3 and texts 2 wide."""
    set_value(checkout, "dataset: sample ", "dataset: features ")
    root = checkout / "data/features"
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    np.save(root / "image.npy", rng.random((4, 3), dtype=np.float32))
    np.save(root / "text.npy", rng.random((4, 2), dtype=np.float32))
    np.save(root / "labels.npy", np.eye(4, 2, dtype=np.uint8))
    np.save(root / "image_id.npy", np.arange(4))
    np.save(root / "split.npy", np.array([0, 0, 2, 3], dtype=np.uint8))
    (root / "categories.json").write_text('["cat", "dog"]', encoding="utf-8")


def test_a_checkpoint_without_weights_fails(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "encoders/tiny-siglip/model.safetensors").unlink()
    assert not examine(timing=False)
    assert "holds no weights -> put model.safetensors there" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["tiny-siglip", "tiny-siglip-naflex"])
@pytest.mark.parametrize(("which", "shown"), [("all", "both whole"), ("last_n", "the last 2")])
def test_towers_that_learn_are_named_with_their_memory(
    checkout: Path, capsys: pytest.CaptureFixture[str], which: str, shown: str, kind: str
) -> None:
    assert examine(timing=False)
    frozen = capsys.readouterr().out
    assert "towers: frozen" in frozen
    assert "their moments" not in frozen
    set_value(checkout, "unfreeze: none", f"unfreeze: {which}")
    set_value(checkout, "encoders/tiny-siglip ", f"encoders/{kind} ")
    assert examine(timing=False)
    lines = capsys.readouterr().out
    assert f"towers: {shown}" in lines
    assert "learn, train.lr_towers 1e-05, gradient checkpointing off" in lines
    assert "constant without gradient" not in lines
    assert "their moments" in lines


def test_the_memory_of_towers_follows_from_what_learns_and_what_is_kept() -> None:
    settings = train_settings(load_params(ROOT / "params.yaml"))
    device = torch.device("cpu")

    def load(which: str, checkpointing: bool = False) -> TowerLoad:
        towers = load_checkpoint(str(ROOT / "encoders" / "tiny-siglip"), None, device)
        return TowerLoad(towers, which, 1, checkpointing, Precision(None, False, None))

    whole, last, again = load("all"), load("last_n"), load("all", checkpointing=True)
    whole_parts, last_parts = whole.memory(settings), last.memory(settings)
    model = load_checkpoint(str(ROOT / "encoders" / "tiny-siglip"), None, device).model
    count = sum(p.numel() for p in model.parameters())
    assert whole_parts["towers"] == last_parts["towers"] == 4 * count
    assert whole_parts["their gradients"] == 4 * (count - 2)  # all but scale and bias of the loss
    assert 0 < last_parts["their moments"] < whole_parts["their moments"]
    assert last.activation_bytes() < whole.activation_bytes()
    assert again.activation_bytes() < whole.activation_bytes()
    # One layer keeps more than its input, attention and hidden values: 64 patches of 128 floats.
    assert whole.activation_bytes() > 3 * 64 * (2 * 128 + 256) * 4
    assert whole.seconds(100, 10, settings) > 0


def test_the_base_model_at_batch_32_needs_what_the_plan_says(params: Params) -> None:
    """The plan: about 10.2 GB, mixed precision, everything learns, without checkpointing."""
    tiny = load_checkpoint(str(ROOT / "encoders" / "tiny-siglip"), None, torch.device("cpu"))

    def base(layers: int, words: int) -> SiglipModel:
        shape: dict[str, Any] = {"hidden_size": 768, "intermediate_size": 3072}
        shape |= {"num_attention_heads": 12, "num_hidden_layers": layers}
        vision = shape | {"image_size": 256, "patch_size": 16}
        text = shape | {"max_position_embeddings": 64, "vocab_size": words}
        return SiglipModel(SiglipConfig(vision_config=vision, text_config=text))

    def kept_a_row(layers: int) -> float:
        towers = replace(
            tiny,
            model=base(layers, len(tiny.tokenizer)),
            pixels=replace(tiny.pixels, image_size=256, patch_size=16),
            token_length=64,
        )
        load = TowerLoad(towers, "all", 2, False, Precision(torch.bfloat16, False, None))
        return load.activation_bytes()

    one, two = kept_a_row(1), kept_a_row(2)  # every further layer keeps as much as the second
    with torch.device("meta"):
        weights = sum(p.numel() for p in base(12, 256_000).parameters())
    assert weights == pytest.approx(375e6, rel=0.01)
    model, settings = model_config(params, 768, 768, 80), train_settings(params)
    assert settings.batch_size == 32
    towers = (4 + 4 + 8) * weights + 32 * (one + 11 * (two - one))
    total = towers + sum(training_memory(model, settings, 0, 5, 0).values())
    assert total == pytest.approx(10.2e9, rel=0.05)


@pytest.mark.parametrize(
    ("card", "alert", "status"),
    [(16e9, 14.5, "ok"), (16e9, 0.5, "warn"), (5e7, 0.5, "fail"), (16e9, None, "ok")],
)
def test_the_memory_is_held_against_card_and_alert(
    params: Params,
    monkeypatch: pytest.MonkeyPatch,
    card: float,
    alert: float | None,
    status: str,
) -> None:
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=card)
    )
    values = params.model_dump()
    values["hardware"]["auto"]["vram_alert_gb"] = alert
    size = _sized(EXPECTED["coco2014"]) | {"images": 60_000.0}
    (finding,) = _memory(parse_params(values), torch.device("cuda"), size, None)
    assert finding.status == status
    assert "weights 0.0" in finding.seen


def test_features_that_do_not_fit_the_card_are_not_counted(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=2e9)
    )
    (finding,) = _memory(params, torch.device("cuda"), _sized(EXPECTED["coco2014"]), None)
    assert finding.status == "ok"
    assert "features" not in finding.seen


def test_a_gpu_profile_without_a_gpu_fails_with_the_mend(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    set_value(checkout, "hardware: auto", "hardware: rtx5080_16gb")
    assert not examine(timing=False)
    shown = capsys.readouterr().out
    assert "-S run.hardware=auto" in shown
    for line in ("dataset", "checkpoint", "batch", "towers", "disk"):  # do not need the GPU
        assert f" {line}: " in shown
    assert "AMP" not in shown


def test_a_gpu_that_is_full_in_a_slice_is_a_failed_line_and_no_end(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(doctor, "training_seconds", full)
    assert not examine()
    shown = capsys.readouterr().out
    assert "fail  training time: the GPU ran out of memory in a slice of the work -> " in shown
    assert "extraction time: " in shown


def test_the_tiny_checkpoint_is_found_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_checkpoint(str(ROOT / "encoders" / "tiny-siglip"), None)
    shown = capsys.readouterr().out
    assert "ok    lower case" in shown
    assert "ok    zero-shot" in shown


def test_the_time_estimate_grows_with_rows_and_epochs(params: Params) -> None:
    model = model_config(params, 8, 8, 4)
    weights, settings = loss_weights(params), train_settings(params)
    small = training_seconds(256, 16, model, weights, settings, torch.device("cpu"))
    large = training_seconds(25_600, 16, model, weights, settings, torch.device("cpu"))
    assert 0 < small < large


def test_the_slices_of_the_time_estimate_do_not_speak_as_a_training_does(
    params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mmhash"):
        settings = replace(train_settings(params), num_epochs=1)
        model = model_config(params, 8, 8, 3)
        training_seconds(64, 8, model, loss_weights(params), settings, torch.device("cpu"))
    assert caplog.messages == []


def test_the_memory_estimate_counts_every_weight(params: Params) -> None:
    model = model_config(params, 768, 768, 80)
    parameters = sum(p.numel() for p in Tagger(model).parameters())
    parts = training_memory(model, train_settings(params), 123_287, 5, 113_287)
    assert parts["weights"] == 4 * parameters
    assert parts["optimiser moments"] == 8 * parameters
    # 123,287 × (1 + 5) vectors of 768 float16
    assert parts["features"] == pytest.approx(1.136e9, rel=0.01)


def test_the_extraction_estimate_is_start_up_plus_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("mmhash.cli.estimates.time.perf_counter", lambda: clock[0])

    def extract_some(count: int, folder: Path) -> None:
        assert folder.is_dir()
        clock[0] += 2.0 + 0.01 * count

    assert extraction_seconds(10_000, 5_000, extract_some) == pytest.approx(102.0)
    assert extraction_seconds(40, 10, extract_some) == pytest.approx(2.1 * 4, rel=0.01)


def test_a_checkpoint_that_knows_nothing_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "random"
    shutil.copytree(ROOT / "encoders" / "tiny-siglip", folder)
    model = SiglipModel.from_pretrained(folder, local_files_only=True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    assert not check_checkpoint(str(folder), None)
    assert "fail  zero-shot" in capsys.readouterr().out


def with_method(params: Params, name: str, **block: Any) -> Params:
    """Return ``params`` with ``model.name`` and values of its block changed."""
    values = params.model_dump()
    values["model"]["name"] = name
    values[name].update(block)
    return parse_params(values)


def small_method(params: Params, name: str, **block: Any) -> tuple[Params, CrossModalConfig]:
    """Return a cross-modal method of small widths, on features of 12 and 8 values, 4 classes."""
    shape = {
        "agch": {"hidden": 16, "graph_dims": [8]},
        "ucmfh": {"hidden": 16, "layers": 1, "batch_size": 16},
    }
    params = with_method(params, name, **(shape.get(name, {}) | block))
    model = cross_modal_config(params, 12, 8, 4)
    assert model is not None
    return params, model


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("agch", "batch: 32 rows a step (agch.batch_size)"),
        ("ucmfh", "batch: 128 rows a step (ucmfh.batch_size)"),
        ("shallow", "batch: none, fitted to all 4000 training rows at once"),
    ],
)
def test_a_cross_modal_method_is_described_by_its_own_block(
    checkout: Path, capsys: pytest.CaptureFixture[str], name: str, batch: str
) -> None:
    set_value(checkout, "  name: full ", f"  name: {name} ")
    set_value(checkout, "batch_size: 32 ", "batch_size: 8 ")  # of train: noisy for BatchNorm
    assert examine(timing=False)
    shown = capsys.readouterr().out
    assert f"ok    {batch}" in shown
    assert "ok    AMP: off, float32" in shown
    assert "BatchNorm" not in shown
    assert ("gradients" in shown) == (name != "shallow")


def test_zero_shot_has_no_training_to_describe(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_value(checkout, "  name: full ", "  name: zeroshot ")
    assert examine(timing=False)
    shown = capsys.readouterr().out
    assert not any(name in shown for name in ("batch:", "AMP:", "memory:"))


@pytest.mark.parametrize("name", ["agch", "ucmfh"])
def test_a_batch_of_more_rows_than_there_are_fails_with_its_own_name(
    params: Params, name: str
) -> None:
    params, model = small_method(params, name, batch_size=64)
    finding = _batch(model, train_settings(params, model), 63)
    assert (finding.status, finding.mend) == ("fail", f"-S {name}.batch_size=63 or less")
    assert _batch(model, train_settings(params, model), 64).status == "ok"


@pytest.mark.parametrize("name", ["agch", "ucmfh"])
def test_the_mend_for_memory_names_the_methods_own_batch(
    params: Params, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=5e7)
    )
    size = _sized(EXPECTED["wiki"])
    (finding,) = _memory(with_method(params, name), torch.device("cuda"), size, None)
    assert (finding.status, finding.name) == ("fail", "GPU memory")
    assert f"{name}.batch_size" in finding.mend
    assert "train.batch_size" not in finding.mend


def test_a_closed_form_is_fitted_in_the_memory_of_the_host(params: Params) -> None:
    size = _sized(EXPECTED["wiki"])
    (finding,) = _memory(with_method(params, "shallow"), torch.device("cuda"), size, None)
    assert (finding.status, finding.name) == ("ok", "memory")


@pytest.mark.parametrize(
    ("name", "block", "moments"),
    [
        ("agch", {"optimizer": "sgd"}, 1),
        ("agch", {"optimizer": "sgd", "momentum": 0.0}, 0),
        ("agch", {"optimizer": "adam"}, 2),
        ("ucmfh", {}, 2),
    ],
)
def test_memory_and_disk_count_the_moments_that_the_optimiser_keeps(
    params: Params, tmp_path: Path, name: str, block: dict[str, Any], moments: int
) -> None:
    params, model = small_method(params, name, **block)
    settings = train_settings(params, model)
    parts = training_memory(model, settings, 100, 1, 80)
    assert parts["optimiser moments"] == moments * parts["weights"]
    data = synthetic_data(40, 10, model)
    run = CrossModalRun(data, model, loss_weights(params), settings, torch.device("cpu"))
    progress = Progress()
    progress.add(*run.epoch(0))
    save_state(tmp_path, progress, run.state, run.optimizer, {})
    weights = sum(4 * tensor.numel() for tensor in run.state.values())
    disk = training_disk(model)
    assert disk["model"] == 5 * weights
    assert disk["resume state"] == max(4 + moments, 5) * weights
    # One best epoch and the state; safetensors headers and step counts are a few kilobytes.
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert written == pytest.approx((2 + moments) * weights, abs=2e4)


def test_the_disk_holds_what_a_training_leaves(params: Params, tmp_path: Path) -> None:
    params, model = small_method(params, "agch", hidden=64)
    settings = replace(train_settings(params, model), num_epochs=4)
    train(
        synthetic_data(40, 10, model),
        model,
        loss_weights(params),
        settings,
        device="cpu",
        cache=tmp_path / "cache",
        out=tmp_path / "model",
    )
    left = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert left == pytest.approx(training_disk(model)["model"], abs=3e4)


def test_agch_at_full_width_writes_gigabytes(params: Params) -> None:
    model = cross_modal_config(with_method(params, "agch"), 4096, 1386, 24)
    assert model is not None
    weights = training_disk(model)["model"] / 5
    assert weights == pytest.approx(0.296e9, rel=0.01)
    # The state file alone, weights and one moment, and three best epochs beside it.
    assert training_disk(model)["resume state"] == pytest.approx(2 * weights + 3 * weights)
    assert training_disk(model_config(params, 768, 768, 80), 1_000_000)["model"] > 20e6


@pytest.mark.parametrize("method", ["cca", "cca_itq", "random_hyperplanes", "cmfh", "scm"])
@pytest.mark.parametrize(("rows", "image", "text"), [(4000, 200, 100), (900, 300, 250)])
def test_the_memory_of_a_closed_form_is_what_its_fit_takes(
    params: Params, method: str, rows: int, image: int, text: int
) -> None:
    few = {"itq_iterations": 2, "cmfh_iterations": 2}
    params = with_method(params, "shallow", method=method, **few)
    model = cross_modal_config(params, image, text, 4)
    assert model is not None
    rng = np.random.default_rng(0)
    labels = (rng.random((rows, 4)) < 0.3).astype(np.uint8)
    tracemalloc.start()
    try:
        vectors = [rng.standard_normal((rows, w), dtype=np.float32) for w in (image, text)]
        fit_shallow(model, vectors[0], vectors[1], labels, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    parts = training_memory(model, train_settings(params, model), rows, 1, rows)
    assert sum(parts.values()) == pytest.approx(peak, rel=0.12)
    copies = 2 if method in ("cmfh", "scm") else 1
    assert parts["float64 copies"] == copies * 8 * rows * (image + text)
    maps = training_disk(model)["model"] / 2
    state = build_hasher(model, 0).state_dict()
    assert maps == 4 * sum(tensor.numel() for tensor in state.values())


def test_the_time_of_a_cross_modal_method_is_its_steps_and_one_validation_an_epoch(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes 1 s, a validation a second for 1,000 items: by a clock that only they move."""
    params, model = small_method(params, "agch", num_epochs=5)
    settings, clock = train_settings(params, model), [0.0]
    monkeypatch.setattr("mmhash.cli.estimates.time.perf_counter", lambda: clock[0])

    def steps(run: CrossModalRun, epoch: int, scale: float) -> dict[str, float]:
        clock[0] += run.steps_per_epoch
        return {"loss": 0.0}

    def validated(run: CrossModalRun, scale: float) -> tuple[dict[str, float], list[float]]:
        assert len(run.queries) <= 1000
        clock[0] += len(run.items) / 1000
        return {"val_mAP": 0.5}, []

    monkeypatch.setattr(CrossModalRun, "steps", steps)
    monkeypatch.setattr(CrossModalRun, "_validate", validated)
    for rows, val, expected in [
        (320, 16, 5 * (10 + 0.32)),
        (64, 16, 5 * (2 + 0.064)),  # fewer steps than a slice
        (32 * 1000 + 31, 5000, 5 * (1000 + 10)),  # a shorter last batch is left out
    ]:
        given = rows, val, model, loss_weights(params), settings, torch.device("cpu")
        assert training_seconds(*given) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["agch", "ucmfh"])
def test_the_time_of_a_small_cross_modal_method_is_measured(params: Params, name: str) -> None:
    params, model = small_method(params, name)
    settings = train_settings(params, model)
    given = model, loss_weights(params), settings, torch.device("cpu")
    assert 0 < training_seconds(128, 16, *given) < training_seconds(3_000, 16, *given)


def test_early_stopping_is_not_spoken_of_where_there_is_none(
    checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmhash.cli.doctor.training_seconds", lambda *given: 60.0)
    assert examine()
    assert "30 epochs (measured on a slice); early stopping" in capsys.readouterr().out
    set_value(checkout, "  name: full ", "  name: agch ")
    assert examine()
    shown = capsys.readouterr().out
    assert "40 epochs (measured on a slice)" in shown
    assert "early stopping" not in shown
    set_value(checkout, "  name: agch ", "  name: shallow ")
    assert examine()
    assert "training time: fitted at once, without epochs" in capsys.readouterr().out
