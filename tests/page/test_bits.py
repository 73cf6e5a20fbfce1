from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmhash.page.bits import LEAST_IMAGES, bit_ids, bits


def test_pictures_of_a_bit_are_its_extremes_and_classes_go_by_phi(outputs: Any) -> None:
    section = bits(outputs.run())
    soft = outputs.soft.astype(float)
    ones = soft >= 0
    for bit in range(16):
        on = [value for _, value in section["on"][bit]]
        assert on == sorted(on, reverse=True)
        assert on[0] == round(float(soft[:, bit].max()), 3)
        assert section["off"][bit][0][1] == round(float(soft[:, bit].min()), 3)
        assert section["ones"][bit] == round(ones[:, bit].mean(), 4)
        for c, with_it, without, phi in section["classes"][bit]:
            has = outputs.labels[:, c] == 1
            assert has.sum() >= LEAST_IMAGES
            assert with_it == pytest.approx(ones[has, bit].mean(), abs=1e-3)
            assert without == pytest.approx(ones[~has, bit].mean(), abs=1e-3)
            expected = np.corrcoef(has, ones[:, bit])[0, 1] if ones[:, bit].std() else 0
            assert phi == pytest.approx(expected, abs=1e-3)
    assert set(bit_ids(section)) <= set(outputs.ids.tolist())


def test_a_method_without_codes_says_so(make_outputs: Callable[..., Any]) -> None:
    section = bits(make_outputs(bits=0).run())
    assert "model.name=mlp" in section["absent"]
    assert bit_ids(section) == []
