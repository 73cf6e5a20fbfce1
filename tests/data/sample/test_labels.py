import numpy as np
import pytest

from mmhash.data.sample.categories import CATEGORY_IDS
from mmhash.data.sample.labels import (
    CATEGORY_NAMES,
    MAX_OBJECTS,
    SCENES,
    frequency,
    random_content,
    random_labels,
)


def test_every_coco_category_is_at_home_somewhere():
    assert set(CATEGORY_NAMES) == set(CATEGORY_IDS)


def test_the_weights_of_the_kinds_are_percentages():
    assert sum(weight for weight, _ in SCENES.values()) == 100
    assert all(chance < weight for weight, row in SCENES.values() for chance in row.values())


def test_the_frequencies_have_a_long_tail():
    ordered = sorted((frequency(name), name) for name in CATEGORY_NAMES)
    assert ordered[-1][1] == "person"
    assert 0.35 < ordered[-1][0] < 0.5
    assert 0.01 < ordered[0][0] < 0.02
    assert ordered[40][0] < 0.03


def test_drawn_labels_keep_to_their_limits():
    rng = np.random.default_rng(0)
    draws = [random_content(rng)[1] for _ in range(5000)]
    assert max(labels.total() for labels in draws) == MAX_OBJECTS
    empty = np.mean([not labels for labels in draws])
    assert 0.005 < empty < 0.02
    assert 2.5 < np.mean([len(labels) for labels in draws]) < 3.5


def test_cutlery_comes_with_a_table_more_often_than_not():
    rng = np.random.default_rng(1)
    draws = [random_content(rng)[1] for _ in range(8000)]
    with_fork = [labels for labels in draws if "fork" in labels]
    table_given_fork = np.mean(["dining table" in labels for labels in with_fork])
    table = np.mean(["dining table" in labels for labels in draws])
    assert table_given_fork > 4 * table


@pytest.mark.parametrize("name", ["hair drier", "airplane", "person"])
def test_a_required_category_occurs(name):
    for seed in range(30):
        assert name in random_content(np.random.default_rng(seed), [name])[1]


def test_eight_required_categories_fit_and_nine_do_not():
    names = CATEGORY_NAMES[:MAX_OBJECTS]
    assert set(random_labels(np.random.default_rng(0), "street", names)) == set(names)
    with pytest.raises(ValueError, match="at most 8"):
        random_labels(np.random.default_rng(0), "street", CATEGORY_NAMES[:9])
