"""Encoding with a trained tagger."""

import numpy as np
import pytest
import torch

from mmhash.errors import InputError
from mmhash.models.config import HashConfig
from mmhash.models.tagger import build_tagger
from mmhash.training.batches import Features
from mmhash.training.encode import encode, evenly

from .conftest import make_data, make_model

DATA = make_data(n=30)
F = DATA.features
ROWS = np.array([7, 2, 19, 11])


def tagger(**blocks):
    return build_tagger(make_model(**blocks), 0, np.ones(5, int), 10)


def direct(model, image, text, scale=3.0):
    with torch.no_grad():
        return model.eval()(torch.tensor(image).float(), torch.tensor(text).float(), scale)


def test_first_gives_one_item_a_row():
    model = tagger()
    result = encode(model, F, ROWS, 3.0, batch=3)
    output = direct(model, F.image[ROWS], F.text[F.caption_offset[ROWS]])
    np.testing.assert_array_equal(result["row"], ROWS)
    np.testing.assert_array_equal(result["caption"], 0)
    np.testing.assert_allclose(result["h"], output.h, atol=1e-6)
    np.testing.assert_allclose(result["logits"], output.logits, atol=1e-6)
    assert "z" not in result


def test_all_gives_one_item_a_caption_with_its_owner():
    model = tagger()
    result = encode(model, F, ROWS, 3.0, captions="all", batch=3)
    pairs = [
        (row, t) for row in ROWS for t in range(F.caption_offset[row + 1] - F.caption_offset[row])
    ]
    assert list(zip(result["row"], result["caption"], strict=True)) == pairs
    text = np.stack([F.text[F.caption_offset[row] + t] for row, t in pairs])
    output = direct(model, F.image[[row for row, _ in pairs]], text)
    np.testing.assert_allclose(result["h"], output.h, atol=1e-6)


def test_mean_averages_the_caption_vectors():
    model = tagger()
    result = encode(model, F, ROWS, 3.0, captions="mean", batch=3)
    text = np.stack(
        [
            F.text[F.caption_offset[r] : F.caption_offset[r + 1]].astype(np.float64).mean(axis=0)
            for r in ROWS
        ]
    )
    np.testing.assert_array_equal(result["caption"], -1)
    np.testing.assert_allclose(result["h"], direct(model, F.image[ROWS], text).h, atol=1e-5)


def test_without_hash_z_is_returned():
    model = tagger(hash=HashConfig(enabled=False))
    result = encode(model, F, ROWS, 1.0)
    output = direct(model, F.image[ROWS], F.text[F.caption_offset[ROWS]])
    np.testing.assert_allclose(result["z"], output.z, atol=1e-6)
    assert "h" not in result


def test_the_scale_is_the_one_given():
    model = tagger()
    soft, hard = (encode(model, F, ROWS, scale)["h"] for scale in (1.0, 10.0))
    np.testing.assert_allclose(np.tanh(10 * np.arctanh(soft)), hard, atol=1e-4)


@pytest.mark.parametrize("captions", ["first", "all", "mean"])
def test_no_rows_give_no_items(captions):
    result = encode(tagger(), F, np.array([], dtype=np.int64), 1.0, captions=captions)
    assert result["h"].shape == (0, 16)
    assert result["logits"].shape == (0, 5)


def test_a_row_without_caption_is_refused():
    features = Features(F.image[:2], F.text[:1], np.array([0, 1, 1]), F.labels[:2])
    with pytest.raises(InputError, match="row 1 has no caption"):
        encode(tagger(), features, np.array([0, 1]), 1.0)


def test_evenly_keeps_few_rows_and_spreads_many():
    rows = np.arange(100, 110)
    assert evenly(rows, 20) is rows
    assert evenly(rows, 4).tolist() == [100, 103, 106, 109]
