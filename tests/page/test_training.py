from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmhash.errors import InputError
from mmhash.page.training import data, training


def test_curves_are_grouped_and_the_histogram_has_a_row_an_epoch(outputs: Any) -> None:
    section = training(outputs.run())
    panels = {panel["panel"]: panel["series"] for panel in section["curves"]}
    assert [e for e, _ in panels["total loss"]["train"]] == [0, 1, 2]
    assert panels["total loss"]["val"][0][1] == 0.5
    histogram = section["histogram"]
    assert np.shape(histogram["share"]) == (3, 10)
    assert histogram["edges"][0] == -1
    assert histogram["edges"][-1] == 1
    assert section["summary"]["best_epoch"] == 2
    facts = data(outputs.run())
    assert facts["counts"]["classes"] == 6
    assert facts["histograms"]["quantity"] == ["labels an image"] * 3


def test_what_is_not_trained_by_epochs_says_so(make_outputs: Callable[..., Any]) -> None:
    assert "not trained by epochs" in training(make_outputs(epochs=0).run())["absent"]
    section = training(make_outputs(bits=0).run())
    assert section["histogram"] == {}


def test_a_damaged_history_is_named(make_outputs: Callable[..., Any]) -> None:
    made = make_outputs()
    (made.root / "model/history.csv").write_text("epoch,loss\n0,none\n")
    with pytest.raises(InputError, match=r"history.csv: not a table of numbers"):
        training(made.run())
