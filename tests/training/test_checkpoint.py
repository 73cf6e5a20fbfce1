"""Progress, state and names of outputs."""

import pytest
import torch

from mmhash.losses.total import LossWeights
from mmhash.training.checkpoint import Progress, load_state, save_state, training_key

from .conftest import make_model, make_settings


def row(epoch, value):
    return {"epoch": epoch, "hash_scale": 1.0 + epoch, "val_mAP": value}


def test_the_best_three_are_ranked_with_the_earliest_of_equals_first():
    progress = Progress()
    for epoch, value in enumerate([0.5, 0.7, 0.6, 0.7, 0.1]):
        progress.add(row(epoch, value), [])
    assert progress.top == [1, 3, 2]
    assert progress.best_epoch == 1


def small_run(steps=3):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(steps):
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def save(folder, values, model, optimizer):
    progress = Progress()
    for epoch, value in enumerate(values):
        progress.add(row(epoch, value), [0.25, 0.75])
        save_state(folder, progress, model.state_dict(), optimizer, {"scale": 2.0})
    return progress


def test_state_comes_back_exactly(tmp_path):
    model, optimizer = small_run()
    progress = save(tmp_path, [0.1, 1 / 3], model, optimizer)
    fresh, fresh_optimizer = small_run(steps=0)
    loaded, scaler = load_state(tmp_path, fresh.state_dict(), fresh_optimizer)
    assert loaded == progress
    assert scaler == {"scale": 2.0}
    assert torch.equal(fresh.weight, model.weight)
    saved, restored = optimizer.state_dict()["state"], fresh_optimizer.state_dict()["state"]
    assert saved.keys() == restored.keys()
    for number, moments in saved.items():
        assert moments.keys() == restored[number].keys()
        assert all(torch.equal(restored[number][name], moments[name]) for name in moments)


def test_superseded_files_are_deleted(tmp_path):
    (tmp_path / ".state-000.half.safetensors").write_bytes(b"left by a kill")
    save(tmp_path, [0.4, 0.3, 0.2, 0.5, 0.1], *small_run())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "state-004.safetensors",
        "weights-000.safetensors",
        "weights-001.safetensors",
        "weights-003.safetensors",
    ]


@pytest.mark.parametrize("damaged", ["state-001.safetensors", "weights-000.safetensors"])
def test_damaged_state_starts_over_and_says_so(tmp_path, damaged, caplog):
    model, optimizer = small_run()
    save(tmp_path, [0.1, 0.2], model, optimizer)
    path = tmp_path / damaged
    path.write_bytes(path.read_bytes()[:-7])
    fresh, fresh_optimizer = small_run(steps=0)
    before = fresh.weight.clone()
    progress, _ = load_state(tmp_path, fresh.state_dict(), fresh_optimizer)
    assert progress.epochs == 0
    assert torch.equal(fresh.weight, before)
    assert "damaged" in caplog.text


def test_no_state_is_no_progress(tmp_path):
    model, optimizer = small_run()
    assert load_state(tmp_path / "none", model.state_dict(), optimizer) == (Progress(), {})


def test_the_key_changes_with_everything_that_changes_the_result():
    def key(model=None, weights=None, settings=None, inputs=None, device="cpu"):
        return training_key(
            model or make_model(),
            weights or LossWeights(),
            settings or make_settings(),
            inputs or {"image.npy": "a"},
            device,
        )

    keys = {
        key(),
        key(model=make_model("mlp")),
        key(weights=LossWeights(hash_weight=0.2)),
        key(settings=make_settings(seed=9)),
        key(inputs={"image.npy": "b"}),
    }
    assert len(keys) == 5
    assert key() == key()
