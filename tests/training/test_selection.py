"""The figure that selects the epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mmhash.losses.total import LossWeights, total_loss
from mmhash.models.config import HashConfig
from mmhash.models.tagger import build_tagger
from mmhash.training.batches import FeatureStore
from mmhash.training.selection import (
    CODE_FIGURES,
    HISTOGRAM_BINS,
    mean_average_precision,
    validate,
)

from .conftest import make_model


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 6), st.integers(0, 3))
def test_mean_average_precision_is_that_of_scikit_learn(seed, n, classes, decimals):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, classes)).round(decimals).astype(np.float32)
    labels = (rng.random((n, classes)) < 0.4).astype(np.uint8)
    labels[0, 0] = 1
    expected = [
        average_precision_score(labels[:, c], scores[:, c])
        for c in range(classes)
        if labels[:, c].any()
    ]
    assert mean_average_precision(scores, labels) == pytest.approx(np.mean(expected), abs=1e-9)


def test_no_positive_at_all_is_refused():
    with pytest.raises(ValueError, match="positive"):
        mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2)))


def run_validate(bench, batch_size, scale=2.0, model=None):
    tagger = build_tagger(model or bench.model, 0, np.ones(5, int), 10)
    store = FeatureStore(bench.data.features, torch.device("cpu"))
    rows = store.index(bench.data.val_rows)
    captions = store.index(bench.data.features.caption_offset[bench.data.val_rows])
    result = validate(tagger, store, rows, captions, LossWeights(), None, scale, batch_size)
    with torch.no_grad():
        image, text, labels = store.batch(rows, captions)
        output = tagger.eval()(image, text, scale)
    return result, output, labels


def test_val_uses_first_captions_evaluation_mode_and_the_whole_of_val(bench):
    result, output, labels = run_validate(bench, batch_size=40)
    expected = average_precision_score(labels.numpy(), output.logits.numpy(), average="macro")
    assert result.mean_ap == pytest.approx(expected, abs=1e-9)
    loss = total_loss(output, labels, LossWeights())["loss"].item()
    assert result.loss == pytest.approx(loss, rel=1e-6)


def test_val_loss_sees_batches_of_the_training_size(bench):
    result, output, labels = run_validate(bench, batch_size=10)
    parts = [
        total_loss(
            output._replace(
                **{k: v[s : s + 10] for k, v in output._asdict().items() if v is not None}
            ),
            labels[s : s + 10],
            LossWeights(),
        )["loss"].item()
        for s in range(0, 40, 10)
    ]
    assert result.loss == pytest.approx(np.mean(parts), rel=1e-5)


def test_the_histogram_of_h_sums_to_one_and_follows_the_scale(bench):
    soft, output, _ = run_validate(bench, 16, scale=0.01)
    assert len(soft.histogram) == HISTOGRAM_BINS
    assert sum(soft.histogram) == pytest.approx(1)
    middle = HISTOGRAM_BINS // 2
    assert sum(soft.histogram[middle - 1 : middle + 1]) == pytest.approx(1)
    hard, output, _ = run_validate(bench, 16, scale=1e6)
    assert hard.histogram[0] == pytest.approx((output.h < 0).float().mean().item(), abs=0.02)
    assert hard.histogram[0] + hard.histogram[-1] > 0.98


def test_the_figures_of_the_codes_are_those_of_all_val_bits(bench):
    result, output, _ = run_validate(bench, batch_size=16)
    h = output.h.double().numpy()
    bits = np.where(h >= 0, 1.0, -1.0)
    varying = bits[:, bits.std(axis=0) > 0]  # an untrained layer has a constant bit
    pairs = np.abs(np.corrcoef(varying.T))[~np.eye(varying.shape[1], dtype=bool)]
    expected = {
        "val_bit_imbalance": np.abs(bits.mean(axis=0)).mean(),
        "val_bit_correlation": pairs.mean(),
        "val_unique_share": len({row.tobytes() for row in bits}) / len(bits),
        "val_quantisation_error": ((np.abs(h) - 1) ** 2).mean(),
    }
    assert list(expected) == [f"val_{name}" for name in CODE_FIGURES]
    assert result.codes == pytest.approx(expected, abs=1e-6)
    assert all(type(value) is float for value in result.codes.values())


def test_without_a_hash_layer_there_are_no_figures_of_codes(bench):
    model = make_model(hash=HashConfig(enabled=False))
    assert run_validate(bench, 16, model=model)[0].codes == {}


def test_broken_weights_give_a_val_map_that_is_nan_and_no_figures(bench, monkeypatch):
    real = FeatureStore.batch

    def broken(self, rows, captions):
        image, text, labels = real(self, rows, captions)
        return image * float("nan"), text, labels

    tagger = build_tagger(bench.model, 0, np.ones(5, int), 10)
    store = FeatureStore(bench.data.features, torch.device("cpu"))
    rows = store.index(bench.data.val_rows)
    captions = store.index(bench.data.features.caption_offset[bench.data.val_rows])
    monkeypatch.setattr(FeatureStore, "batch", broken)
    result = validate(tagger, store, rows, captions, LossWeights(), None, 2.0, 16)
    assert np.isnan(result.mean_ap)
    assert result.codes == {}
