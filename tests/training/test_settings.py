"""What the loop refuses, and the arithmetic it chooses."""

import dataclasses

import numpy as np
import pytest
import torch

from mmhash.errors import InputError
from mmhash.training.batches import Features
from mmhash.training.settings import training_precision

from .conftest import make_data, make_model, make_settings


def without_val_labels(data):
    labels = data.features.labels.copy()
    labels[data.val_rows] = 0
    return dataclasses.replace(data, features=dataclasses.replace(data.features, labels=labels))


def without_caption(data):
    f = data.features
    offset = f.caption_offset.copy()
    offset[1] = 0
    return dataclasses.replace(data, features=dataclasses.replace(f, caption_offset=offset))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: dataclasses.replace(d, train_rows=np.array([3])), "1 training rows"),
        (lambda d: dataclasses.replace(d, train_rows=np.array([], int)), "0 training rows"),
        (lambda d: dataclasses.replace(d, val_rows=np.array([], int)), "no val rows"),
        (lambda d: dataclasses.replace(d, val_rows=np.array([120])), "reach 120"),
        (lambda d: dataclasses.replace(d, categories=("a",)), "category names"),
        (without_val_labels, "val mAP is undefined"),
        (without_caption, "row 0 has no caption"),
    ],
)
def test_data_that_cannot_train_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        change(make_data()).check(make_model())


def test_a_model_of_other_widths_is_refused():
    with pytest.raises(InputError, match="image width of the data is 12 where the model expects 9"):
        make_data().check(make_model(dim=9))


@pytest.mark.parametrize(
    ("amp", "dtype", "device", "autocast", "scaled"),
    [
        (False, "float16", "cuda", None, False),
        (True, "float16", "cuda", torch.float16, True),
        (True, "bfloat16", "cuda", torch.bfloat16, False),
        (True, "bfloat16", "cpu", torch.bfloat16, False),
        (True, "float16", "cpu", None, False),
    ],
)
def test_precision_by_device(amp, dtype, device, autocast, scaled):
    chosen = training_precision(make_settings(amp=amp, amp_dtype=dtype), torch.device(device))
    assert (chosen.autocast, chosen.scale_gradients) == (autocast, scaled)
    assert bool(chosen.note) is (amp and dtype == "float16" and device == "cpu")


def test_features_of_a_single_caption_each_are_ragged_features_too():
    data = make_data()
    f = data.features
    text = f.text[f.caption_offset[:-1]]
    single = Features(f.image, text, np.arange(121), f.labels)
    dataclasses.replace(data, features=single).check(make_model())
    assert (single.captions_per_row(data.train_rows) == 1).all()
