from itertools import product
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mmhash.ablations.catalogue import NAFLEX, check, studies
from mmhash.ablations.main_method import PLAN_AS_WRITTEN
from mmhash.ablations.study import Row, Study
from mmhash.errors import InputError
from mmhash.experiments.plan import apply, parse_override, row_overrides, slug
from mmhash.params import parse_params

SPECIFIED = [
    *("baselines", "A1", "A2", "A3", "B1", "B2", "B3", "B4", "B5", "C1", "C2", "C3", "C4", "D1"),
    *("E1", "M1", "grid", "plan", "kfold"),
    *(
        "cross_modal",
        "agch_variants",
        "agch_suspects",
        "agch_cures",
        "agch_settings",
        "agch_depth",
        "ucmfh",
    ),
]
STUDIES = studies("sample")


@pytest.fixture(scope="module")
def values(repository: Path) -> dict:
    text = (repository / "params.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


def row(study: Study, name: str) -> Row:
    return next(row for row in study.rows if row.name == name)


def test_every_study_of_the_specification_is_there() -> None:
    assert list(STUDIES) == SPECIFIED


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
@pytest.mark.parametrize("dataset", ["sample", "coco2014"])
def test_every_row_is_a_valid_setting(study: Study, dataset: str, values: dict) -> None:
    study = studies(dataset)[study.id]
    for line in study.rows:
        overrides = row_overrides(study, line, {"run.dataset": dataset})
        parse_params(apply(values, overrides), line.name)


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_rows_have_distinct_names_and_a_baseline_among_them(study: Study) -> None:
    names = [line.name for line in study.rows]
    assert len({slug(name) for name in names}) == len(names)
    assert {study.baseline, *(line.baseline for line in study.rows if line.baseline)} <= set(names)
    for line in study.rows:
        assert (line.head is None) == bool(study.heads), "a head of its own, or the study's heads"


def test_studies_of_image_to_text_and_back_draw_them() -> None:
    across = {"across.test.image_to_text.mAP@50", "across.test.text_to_image.mAP@50"}
    for study in STUDIES.values():
        assert (study.picture == "across") == (across <= set(study.also)), study.id


def test_the_grid_has_27_rows_of_three_squares() -> None:
    grid = [line.overrides for line in STUDIES["grid"].rows]
    assert len(grid) == 27
    squares = [
        ("hash.bits", "fusion.type"),
        ("loss.cosine_weight", "loss.hash_weight"),
        ("knn.k", "knn.tau"),
    ]
    for keys in squares:
        found = {tuple(o[k] for k in keys) for o in grid if set(o) == set(keys)}
        assert found == set(product(*(set(column) for column in zip(*found, strict=True))))
        assert len(found) == 9


def test_d1_compares_within_a_code_length() -> None:
    study = STUDIES["D1"]
    for line in study.rows:
        assert line.baseline is not None
        base = row(study, line.baseline).overrides
        assert base["hash.bits"] == line.overrides["hash.bits"]
        assert base["hash.schedule"] == "constant"
    tops = {line.overrides.get("hash.scale_max") for line in study.rows}
    assert {3, 8, 10, 12, 15, 50} <= tops


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ("baselines", ("plan B above plan A", "near the MLP")),
        ("A2", ("128 bits", "slightly better", "64")),
        ("E1", ("5 to 10 times", "cosine")),
    ],
)
def test_the_expectation_of_the_plan_stands_beside(study: str, words: tuple[str, ...]) -> None:
    (note,) = [note for note in STUDIES[study].notes if note.startswith("The plan expected")]
    assert all(word in note for word in words)
    assert "not measured" in note


def test_the_plan_differs_from_the_defaults_in_what_the_readme_says(
    values: dict, repository: Path
) -> None:
    changed = {
        key: value
        for key, value in PLAN_AS_WRITTEN.items()
        if parse_params(apply(values, {key: value})) != parse_params(values)
    }
    readme = (repository / "README.md").read_text(encoding="utf-8")
    command = (
        readme.partition("## The plan as written")[2].partition("```sh")[2].partition("```")[0]
    )
    parts = command.replace("\\", "").split("-S ")[1:]
    written = dict(parse_override(part.strip()) for part in parts)
    assert written == changed


def test_naflex_rows_name_the_dataset_and_its_checkpoint() -> None:
    for dataset, checkpoint in NAFLEX.items():
        study = studies(dataset)["B3"]
        assert study.common == {f"datasets.{dataset}.encoder.checkpoint": checkpoint}
        assert row(study, "512 patches").overrides == {
            f"datasets.{dataset}.encoder.max_num_patches": 512
        }
    with pytest.raises(InputError, match="NaFlex checkpoint: use --dataset"):
        check(studies("features")["B3"], "features")
