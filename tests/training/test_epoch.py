"""Steps: accumulation, weights of rows, precision, what is said of a broken loss."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.errors import InputError
from mmhash.losses.hashing import quantisation
from mmhash.losses.total import LossWeights
from mmhash.models.config import FusionConfig, HashConfig
from mmhash.models.tagger import Tagger
from mmhash.training.batches import grouped, plan_epoch
from mmhash.training.epoch import Run
from mmhash.training.settings import training_precision

from .conftest import make_data, make_model, make_settings

CPU = torch.device("cpu")


def make_run(data=None, model=None, weights=None, **values) -> Run:
    settings = make_settings(**values)
    precision = training_precision(settings, CPU)
    return Run(
        data or make_data(),
        model or make_model(),
        weights or LossWeights(),
        settings,
        precision,
        CPU,
    )


def plain_model():
    """Rows do not influence each other: no BatchNorm, no dropout."""
    return make_model(
        fusion=FusionConfig(mlp_dims=(16,), dropout=0.0), hash=HashConfig(16, 16, False)
    )


def window_gradients(run: Run, number: int) -> list[np.ndarray]:
    run.tagger.train()
    plan = plan_epoch(run.data.features, run.data.train_rows, 1, 0)
    rows, captions = run.store.index(plan.rows), run.store.index(plan.captions)
    window = run.windows[number]
    total = window[-1][1] - window[0][0]
    for micros in grouped(window, run.rows_together):
        part = slice(micros[0][0], micros[-1][1])
        dropout = run._dropout(0, micros)
        run._backward(rows[part], captions[part], 2.0, len(micros), dropout, total)
    return [parameter.grad.double().numpy() for parameter in run.parameters]


@pytest.mark.parametrize("number", [0, -1])
def test_accumulated_gradients_equal_those_of_one_big_batch(number):
    # 77 rows: the last window is 8 + 5 rows against one batch of 13.
    data = dataclasses.replace(make_data(), train_rows=np.arange(77))
    weights = LossWeights(hash_weight=0.0)
    parts = make_run(data, plain_model(), weights, batch_size=8, gradient_accumulation_steps=2)
    whole = make_run(data, plain_model(), weights, batch_size=16, gradient_accumulation_steps=1)
    assert len(parts.windows) == len(whole.windows) == 5
    assert [stop - start for start, stop in parts.windows[-1]] == [8, 5]
    for a, b in zip(window_gradients(parts, number), window_gradients(whole, number), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)
        assert abs(b).max() > 1e-5


@pytest.mark.parametrize("number", [0, -1])
def test_micro_batches_together_are_as_good_as_one_by_one(number):
    # With BatchNorm and the terms of a batch, each of which sees one micro batch alone, and with
    # masks that a micro batch draws by itself.
    data = dataclasses.replace(make_data(), train_rows=np.arange(77))
    model = make_model(fusion=FusionConfig(mlp_dims=(16, 8), dropout=0.3), hash=HashConfig(16, 16))
    weights = LossWeights(hash_weight=1.0, lambda_decorr=3.0)
    runs = []
    for rows in (16, 1):
        run = make_run(data, model, weights, batch_size=8, gradient_accumulation_steps=2)
        run.rows_together = rows
        runs.append((run, window_gradients(run, number)))
    (together, a), (alone, b) = runs
    for mine, other in zip(a, b, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-7)
        assert abs(other).max() > 1e-6
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        mine, other = (getattr(run.tagger.hash.norm, name) for run in (together, alone))
        torch.testing.assert_close(mine, other)
        assert mine.abs().max() > 0
    big = make_run(data, model, weights, batch_size=16, gradient_accumulation_steps=1)
    differs = [
        not np.allclose(mine, other, rtol=1e-3, atol=1e-6)
        for mine, other in zip(a, window_gradients(big, number), strict=True)
    ]
    assert any(differs), "one big batch is something else"


@given(st.integers(2, 12), st.integers(1, 6), st.integers(1, 100), st.sampled_from([0.1, 0.5, 0.9]))
@settings(max_examples=12)
def test_the_masks_of_dropout_are_those_of_the_micro_batch(batch, accumulation, together, p):
    model = make_model(fusion=FusionConfig(mlp_dims=(16, 7), dropout=p))
    run = make_run(model=model, batch_size=batch, gradient_accumulation_steps=accumulation)
    alone = {micro: run._dropout(1, [micro]) for window in run.windows for micro in window}
    for window in run.windows:
        for micros in grouped(window, together):
            torch.manual_seed(together)  # what was drawn before plays no part
            expected = torch.cat([alone[micro] for micro in micros])
            assert torch.equal(run._dropout(1, micros), expected)
    masks = list(alone.values())
    assert [len(mask) for mask in masks] == [stop - start for start, stop in alone]
    assert {mask.shape[1] for mask in masks} == {23}
    assert not torch.equal(masks[0], masks[1]), "each micro batch has its own"
    first = next(iter(alone))
    assert not torch.equal(masks[0], run._dropout(2, [first])), "and another in each epoch"


def test_without_dropout_nothing_is_drawn():
    assert make_run(model=plain_model())._dropout(0, [(0, 8)]) is None


@pytest.mark.parametrize("most", [1e-3, 1e3])
def test_the_gradient_is_scaled_as_torch_does_it(most):
    run = make_run(gradient_clip_norm=most)
    window_gradients(run, 0)
    before = [parameter.grad.clone() for parameter in run.parameters]
    norm = run._clip()
    copies = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in before]
    for copy, gradient in zip(copies, before, strict=True):
        copy.grad = gradient
    assert torch.nn.utils.clip_grad_norm_(copies, most) == norm
    for parameter, copy in zip(run.parameters, copies, strict=True):
        assert torch.equal(parameter.grad, copy.grad)


def test_each_row_weighs_the_same_inside_its_window():
    data = dataclasses.replace(make_data(), train_rows=np.arange(77))
    run = make_run(data, batch_size=8, gradient_accumulation_steps=4)
    real, seen = run._backward, []

    def records(rows, captions, scale, micros, dropout, window_rows):
        seen.append((len(rows), micros, window_rows))
        return real(rows, captions, scale, micros, dropout, window_rows)

    run._backward = records
    run.epoch(0)
    # 77 rows: two windows of 32, and one of 8 + 5, which are of different sizes.
    assert seen == [(32, 4, 32)] * 2 + [(8, 1, 13), (5, 1, 13)]


def test_the_last_incomplete_window_is_a_step_of_its_own():
    data = dataclasses.replace(make_data(), train_rows=np.arange(77))
    run = make_run(data, batch_size=8, gradient_accumulation_steps=4)
    run.epoch(0)
    steps = {int(state["step"]) for state in run.optimizer.state_dict()["state"].values()}
    assert steps == {3}
    assert run.steps_per_epoch == 3


def test_history_holds_the_row_means_of_the_terms():
    data = dataclasses.replace(make_data(), train_rows=np.arange(77))
    run = make_run(data, plain_model(), lr=1e-12, min_lr=0.0, gradient_accumulation_steps=3)
    row, _ = run.epoch(0)
    with torch.no_grad():
        plan = plan_epoch(data.features, data.train_rows, 1, 0)
        image, text, labels = run.store.batch(
            run.store.index(plan.rows), run.store.index(plan.captions)
        )
        output = run.tagger(image, text, row["hash_scale"])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(output.logits, labels)
    assert row["loss_classification"] == pytest.approx(expected.item(), rel=1e-5)
    assert row["loss_quantisation"] == pytest.approx(quantisation(output.h).item(), rel=1e-5)
    assert row["loss_hash"] == pytest.approx(
        row["loss_quantisation"] + 0.1 * row["loss_balance"] + 0.01 * row["loss_decorrelation"],
        rel=1e-5,
    )
    total = row["loss_classification"] + row["loss_cosine"] + 0.1 * row["loss_hash"]
    assert row["loss"] == pytest.approx(total, rel=1e-5)


def test_an_epoch_does_not_depend_on_how_often_it_is_logged():
    often, seldom = make_run(log_every=1), make_run(log_every=1000)
    a, b = often.epoch(0)[0], seldom.epoch(0)[0]
    assert a == pytest.approx(b, rel=1e-12)
    for mine, other in zip(often.parameters, seldom.parameters, strict=True):
        assert torch.equal(mine, other)


def test_the_gradient_is_clipped():
    run = make_run(gradient_clip_norm=1e-3)
    window_gradients(run, 0)
    seen = {}
    run.scaler.step = lambda optimizer: seen.update(
        norm=torch.cat([p.grad.flatten() for p in run.parameters]).norm().item()
    )
    before = run._update().item()
    assert before > 1e-2
    assert seen["norm"] == pytest.approx(1e-3, rel=1e-3)


def test_gradient_norms_are_columns_on_request():
    row, _ = make_run(log_gradient_norms=True).epoch(0)
    assert 0 < row["gradient_norm_mean"] <= row["gradient_norm_max"]
    assert list(row)[-2:] == ["gradient_norm_mean", "gradient_norm_max"]
    assert not any(name.startswith("gradient") for name in make_run().epoch(0)[0])


def test_bfloat16_on_a_cpu_stays_near_float32():
    row, _ = make_run(amp=True, amp_dtype="bfloat16").epoch(0)
    exact, _ = make_run(amp=False).epoch(0)
    assert row["loss"] != exact["loss"]
    assert row["loss"] == pytest.approx(exact["loss"], rel=0.02)


@pytest.mark.parametrize("kind", ["focal", "class_balanced", "asymmetric"])
def test_each_classification_loss_trains(kind):
    weights = LossWeights(classification=kind, pairwise_weight=0.1)
    run = make_run(model=plain_model(), weights=weights, num_epochs=2)
    first, second = run.epoch(0)[0], run.epoch(1)[0]
    assert second["loss_classification"] < first["loss_classification"]
    assert first["loss_pairwise"] > 0


def test_a_broken_term_is_named_with_its_step(monkeypatch):
    calls = []

    def breaks(h):
        calls.append(h.shape)
        factors = [1.0, float("nan") if len(calls) == 4 else 1.0]
        return quantisation(h) * torch.tensor(factors)

    monkeypatch.setattr("mmhash.losses.total.quantisation", breaks)
    run = make_run(log_every=50, gradient_accumulation_steps=2)
    with pytest.raises(InputError) as caught:
        run.epoch(0)
    message = str(caught.value)
    # The windows hold two micro batches; the second of the fourth window is broken.
    assert set(calls) == {(2, 8, 16)}
    assert "epoch 0, step 4 of 5" in message
    assert "(term: quantisation)" in message
    for advice in ("train.lr", "train.warmup_ratio", "loss.hash_weight"):
        assert advice in message
    assert "\n" not in message


def test_a_loss_that_diverges_by_itself_is_caught():
    run = make_run(lr=1e38, warmup_ratio=0.0, gradient_clip_norm=1e38)
    with pytest.raises(InputError, match=r"not finite.*lower train\.lr"):
        run.epoch(0)


def test_weights_broken_by_the_very_last_step_are_caught_on_val(monkeypatch):
    run = make_run()
    real = Tagger.forward

    def breaks_in_evaluation(self, *arguments):
        output = real(self, *arguments)
        return output if self.training else output._replace(logits=output.logits * float("inf"))

    monkeypatch.setattr(Tagger, "forward", breaks_in_evaluation)
    with pytest.raises(InputError, match="val loss is not finite"):
        run.epoch(0)


@pytest.mark.parametrize("name", ["image", "text"])
def test_features_that_are_not_finite_are_named_as_the_cause(name):
    data = make_data()
    array = getattr(data.features, name).copy()
    row = 11 if name == "image" else slice(*data.features.caption_offset[11:13])
    array[row, 2] = np.inf
    features = dataclasses.replace(data.features, **{name: array})
    with pytest.raises(
        InputError, match=rf"row \d+ of the {name} features is not finite"
    ) as caught:
        make_run(dataclasses.replace(data, features=features)).epoch(0)
    if name == "image":
        assert "row 11 " in str(caught.value)


def test_the_number_of_threads_outside_changes_no_weight_and_comes_back() -> None:
    before = torch.get_num_threads()
    weights = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            run = make_run()
            run.epoch(0)
            assert torch.get_num_threads() == threads
            weights.append({name: t.clone() for name, t in run.tagger.state_dict().items()})
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
