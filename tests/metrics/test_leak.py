"""What a code depends on besides its own modality."""

import numpy as np
import pytest
import torch

from mmhash.errors import InputError
from mmhash.metrics.leak import leak_table
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.ucmfh import Ucmfh

RNG = np.random.default_rng(5)
IMAGE, TEXT = RNG.normal(size=(80, 12)), RNG.normal(size=(80, 9))
TO_IMAGE, TO_TEXT = RNG.normal(size=(12, 256)), RNG.normal(size=(9, 256))
NAMES = ["image_batch_mates", "text_batch_mates", "image_other_modality", "text_other_modality"]


def table(encode, image=IMAGE, text=TEXT, seed=0):
    return leak_table(encode, image, text, np.random.default_rng(seed))


def clean(image, text):
    codes = np.tanh(image @ TO_IMAGE), np.tanh(text @ TO_TEXT)
    return *codes, sum(codes) / 2


def test_codes_of_one_modality_and_one_row_leak_exactly_nothing():
    assert table(clean) == dict.fromkeys(NAMES, 0.0)


def test_batch_mates_show_by_modality():
    def centred(image, text):
        codes = clean(image, text)
        return codes[0] - 9 * codes[0].mean(axis=0), codes[1], codes[2]

    found = table(centred)
    assert found["image_batch_mates"] > 0.1
    assert {found[name] for name in NAMES[1:]} == {0.0}


def test_the_other_modality_shows_by_modality():
    def told(image, text):
        codes = clean(image, text)
        return codes[1], codes[1], codes[1]  # an image code that is the text's

    found = table(told)
    assert found["image_other_modality"] == pytest.approx(0.5, abs=0.05)
    assert {found[name] for name in NAMES if name != "image_other_modality"} == {0.0}


def test_the_text_of_batch_mates_is_not_the_own_text():
    def mates_only(image, text):
        mates = text.sum(axis=0) - text  # all texts but the own
        return image @ TO_IMAGE + 20 * mates @ TO_TEXT, text @ TO_TEXT

    found = table(mates_only)
    assert found["image_batch_mates"] > 0.3
    # without the own text nothing but rounding moves, which no sign here is near enough to show
    assert found["image_other_modality"] == 0.0


def test_a_share_is_of_all_bits():
    def one_of_eight(image, text):
        own = image[:, :8] ** 2
        own[:, 3] = text[:, 0]
        return own, text[:, :8] ** 2

    image, text = IMAGE.copy(), TEXT.copy()
    text[:, 0] = 1.0
    assert table(one_of_eight, image, text)["image_other_modality"] == 0.0
    order = np.random.default_rng(0).permutation(80)
    text[order[:40], 0] = -1.0  # the batch, not the strangers
    assert table(one_of_eight, image, text)["image_other_modality"] == 1 / 8


def test_every_batch_has_the_same_size_and_the_draw_is_seeded():
    sizes = set()

    def counted(image, text):
        sizes.add((len(image), len(text)))
        return clean(image - image.mean(axis=0), text)

    first = table(counted)
    assert first == table(counted)
    assert sizes == {(40, 40)}
    assert table(counted, IMAGE[:5], TEXT[:5]).keys() == first.keys()


def test_identical_rows_leak_nothing():
    found = table(clean, np.ones((8, 12)), np.ones((8, 9)))
    assert found == dict.fromkeys(NAMES, 0.0)


@pytest.mark.parametrize(("images", "texts"), [(3, 3), (8, 6), (0, 0)])
def test_too_few_rows_are_named(images, texts):
    with pytest.raises(InputError, match=f"{images} image and {texts} text rows"):
        table(clean, IMAGE[:images], TEXT[:texts])


@pytest.mark.parametrize("query", ["both", "single"])
@pytest.mark.parametrize("attention", ["batch", "sample"])
def test_each_protocol_of_ucmfh_leaks_what_it_says(attention, query):
    torch.manual_seed(1)
    settings = {"attention": attention, "query": query, "batch_size": 40, "heads": 2}
    settings |= {"layers": 1, "hidden": 0, "dropout": 0.0}
    model = Ucmfh(CrossModalConfig("ucmfh", 12, 9, 64, settings)).eval()

    def encode(image, text):
        with torch.no_grad():
            codes = model(torch.from_numpy(image).float(), torch.from_numpy(text).float())
        return tuple(code.numpy() for code in codes)

    found = table(encode)
    for name, value in found.items():
        leaks = attention == "batch" if "mates" in name else query == "both"
        assert (value > 0) == leaks, name
