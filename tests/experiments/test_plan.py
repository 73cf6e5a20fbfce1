from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mmhash.ablations.catalogue import studies
from mmhash.ablations.study import Row, Study
from mmhash.errors import InputError
from mmhash.experiments.plan import (
    Namer,
    apply,
    canonical,
    override_argument,
    parse_override,
    row_overrides,
)


@pytest.fixture(scope="module")
def values(repository: Path) -> dict[str, Any]:
    text = (repository / "params.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


@pytest.fixture(scope="module")
def known() -> dict[str, Study]:
    return studies("sample")


def named(namer: Namer, study: Study) -> dict[str, str]:
    return {row.name: namer.experiment(study, row, 1).name for row in study.rows}


def test_overrides_that_change_nothing_are_dropped(values: dict[str, Any]) -> None:
    assert canonical(values, {"hash.bits": 64, "knn.k": 5}) == {"knn.k": 5}


@pytest.mark.parametrize(
    ("more", "acts"),
    [
        ({}, False),
        ({"align.projection": True}, True),
        ({"encoder.unfreeze": "all"}, True),
        ({"model.name": "mlp", "align.projection": True}, False),
    ],
)
def test_alpha_counts_only_where_it_has_a_gradient(
    values: dict[str, Any], more: dict[str, Any], acts: bool
) -> None:
    found = canonical(values, {"loss.cosine_weight": 2.0, **more})
    assert ("loss.cosine_weight" in found) is acts
    assert set(more) <= set(found)


def test_an_override_leaves_the_given_values_alone(values: dict[str, Any]) -> None:
    assert apply(values, {"loss.hash_reg.lambda_balance": 9.0})["loss"]["hash_reg"] == {
        "lambda_balance": 9.0,
        "lambda_decorr": values["loss"]["hash_reg"]["lambda_decorr"],
    }
    assert values["loss"]["hash_reg"]["lambda_balance"] == 0.1
    with pytest.raises(InputError, match=r"unknown key hash\.bit;"):
        apply(values, {"hash.bit": 64})


def test_equal_settings_of_different_studies_are_one_experiment(
    values: dict[str, Any], known: dict[str, Study]
) -> None:
    namer = Namer(known.values(), values, {})
    assert named(namer, known["C4"])["tau 0.07"] == "base-s1"
    assert named(namer, known["A2"]) == {
        "16 bits": "A2-16-bits-s1",
        "32 bits": "A2-32-bits-s1",
        "64 bits": "base-s1",
        "128 bits": "A2-128-bits-s1",
        "256 bits": "A2-256-bits-s1",
        "no hash": "A2-no-hash-s1",
    }
    assert named(namer, known["E1"]) == {
        k: v for k, v in named(namer, known["A2"]).items() if k != "no hash"
    }
    heads = named(namer, known["baselines"])
    assert {name for row, name in heads.items() if row.startswith("plan A")} == {
        "baselines-plan-A-directions-only-s1"
    }
    loss = named(namer, known["B2"])
    assert loss["alpha 0.5, gamma 0.2"] == loss["alpha 2.0, gamma 0.2"]
    assert loss["projection, alpha 0.5"] != loss["projection, alpha 2.0"]


@pytest.mark.parametrize("extra", [{}, {"align.projection": True}, {"run.dataset": "coco2014"}])
def test_a_name_stands_for_one_setting(
    values: dict[str, Any], known: dict[str, Study], extra: dict[str, Any]
) -> None:
    namer = Namer(known.values(), values, extra)
    settings: dict[str, dict[str, Any]] = {}
    for study in known.values():
        for row in study.rows:
            if study.id in ("B2", "plan", "cross_modal") and "align.projection" in extra:
                continue  # they set the projection themselves
            found = namer.experiment(study, row, 2)
            assert settings.setdefault(found.name, found.overrides) == found.overrides
            assert found.values["train"]["seed"] == 2
    assert len({str(s) for s in settings.values()}) == len(settings)


def test_settings_under_the_users_overrides_have_other_names(
    values: dict[str, Any], known: dict[str, Study]
) -> None:
    plain = Namer(known.values(), values, {})
    same = Namer(known.values(), values, {"train.num_epochs": 30})  # as in params.yaml
    other = Namer(known.values(), values, {"train.num_epochs": 3, "run.dataset": "features"})
    study, row = known["A2"], known["A2"].rows[0]
    assert plain.experiment(study, row, 1) == same.experiment(study, row, 1)
    found = other.experiment(study, row, 1)
    assert found.name.startswith("A2-16-bits-features-x")
    assert found.overrides == {
        "hash.bits": 16,
        "train.num_epochs": 3,
        "run.dataset": "features",
        "train.seed": 1,
    }


def test_what_a_study_varies_and_the_seed_are_not_the_users(
    values: dict[str, Any], known: dict[str, Study]
) -> None:
    with pytest.raises(InputError, match=r"A2 varies hash\.bits: leave it out of -S"):
        row_overrides(known["A2"], known["A2"].rows[0], {"hash.bits": 32})
    with pytest.raises(InputError, match="--seeds"):
        Namer(known.values(), values, {"train.seed": 3})


def test_the_users_override_goes_before_the_studys_common_one(known: dict[str, Study]) -> None:
    study = known["B1"]
    assert row_overrides(study, study.rows[0], {"train.num_epochs": 2})["train.num_epochs"] == 2


def test_a_value_out_of_range_is_found_before_anything_runs(values: dict[str, Any]) -> None:
    row = Row("24 bits", {"hash.bits": 24})
    study = Study("X", "a study", row.name, (row,))
    with pytest.raises(InputError, match=r"X, row '24 bits': hash\.bits = 24"):
        Namer([study], values, {}).experiment(study, row, 1)


@given(
    st.one_of(
        st.booleans(),
        st.none(),
        st.integers(-(10**9), 10**9),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(st.integers(1, 2048), max_size=3),
        st.sampled_from(["linear", "encoders/tiny-siglip-naflex", "google/siglip2-base-patch16"]),
    )
)
def test_what_dvc_gets_is_read_back_as_the_same_value(value: Any) -> None:
    assert parse_override(override_argument("block.key", value)) == ("block.key", value)


@pytest.mark.parametrize("text", ["hash.bits", "bits=64", "=3", "hash..bits=3", "a.b=[1"])
def test_text_that_is_no_override_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not of the form|not valid YAML"):
        parse_override(text)
