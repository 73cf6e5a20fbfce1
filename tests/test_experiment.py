from dataclasses import replace
from pathlib import Path

import pytest

from mmhash.experiment import (
    cross_modal_config,
    loss_weights,
    model_config,
    run_name,
    train_settings,
)
from mmhash.params import load_params, parse_params

PARAMS = load_params(Path(__file__).resolve().parents[1] / "params.yaml")


def test_every_value_of_the_blocks_reaches_the_library() -> None:
    model = model_config(PARAMS, 96, 128, 80)
    assert (model.image_dim, model.text_dim, model.num_classes) == (96, 128, 80)
    assert model.fusion.mlp_dims == tuple(PARAMS.fusion.mlp_dims)
    assert model.hash.bits == PARAMS.hash.bits
    weights = loss_weights(PARAMS)
    assert weights.lambda_balance == PARAMS.loss.hash_reg.lambda_balance
    assert weights.hash_weight == PARAMS.loss.hash_weight
    settings = train_settings(PARAMS)
    assert settings.lr == PARAMS.train.lr
    assert settings.seed == PARAMS.train.seed


def test_the_training_defaults_are_those_of_the_plan() -> None:
    settings = train_settings(PARAMS)
    assert (settings.batch_size, settings.gradient_accumulation_steps) == (32, 2)
    assert (settings.lr, settings.min_lr, settings.warmup_ratio) == (2e-4, 1e-6, 0.1)


def test_the_block_inside_the_loss_block_becomes_plain_fields() -> None:
    weights, block = loss_weights(PARAMS), PARAMS.loss
    assert weights.hash_weight == block.hash_weight
    assert weights.lambda_balance == block.hash_reg.lambda_balance
    assert weights.lambda_decorr == block.hash_reg.lambda_decorr


def changed(**blocks: dict) -> str:
    values = PARAMS.model_dump()
    for name, block in blocks.items():
        values[name] |= block
    return run_name(parse_params(values))


def test_a_run_is_named_by_what_decides_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    name = changed()
    assert name.startswith("sample-full-64bit-")
    same = {"knn": {"k": 7}, "plots": {"dpi": 50}, "run": {"hardware": "cpu"}}
    assert changed(**same, tracking={"wandb": True}) == name
    others = [
        changed(train={"seed": 9}),
        changed(split={"protocol": "kfold", "fold": 1}),
        changed(loss={"hash_weight": 0.3}),
        changed(hash={"bits": 32}),
        changed(model={"name": "mlp"}),
    ]
    assert len({name, *others}) == 6
    assert others[3].startswith("sample-full-32bit-")
    assert others[4].startswith("sample-mlp-")
    monkeypatch.setenv("DVC_EXP_NAME", "tidy-cats")
    assert changed() == name.replace("sample-full-64bit", "tidy-cats")


def test_a_shallow_method_is_named_by_itself_and_cca_has_no_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)

    def shallow(method: str, **blocks: dict) -> str:
        return changed(model={"name": "shallow"}, shallow={"method": method}, **blocks)

    assert shallow("cca_itq").startswith("sample-cca_itq-64bit-")
    assert shallow("scm", hash={"bits": 32}).startswith("sample-scm-32bit-")
    assert shallow("cca").startswith("sample-cca-")
    assert "bit" not in shallow("cca")
    # The bits bound its dimensions all the same.
    assert shallow("cca") != shallow("cca", hash={"bits": 32})
    assert changed(model={"name": "agch"}).startswith("sample-agch-64bit-")


def test_a_closed_form_has_float32_and_no_epochs_of_its_own() -> None:
    values = PARAMS.model_dump()
    values["model"]["name"] = "shallow"
    params = parse_params(values)
    settings = train_settings(params, cross_modal_config(params, 12, 8, 4))
    assert settings == replace(train_settings(PARAMS), amp=False)
