import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mmhash.errors import InputError
from mmhash.params import load_params, parse_params

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
DEFAULTS = YAML(typ="safe", pure=True).load(PARAMS.read_text(encoding="utf-8"))


@pytest.fixture
def values() -> dict[str, Any]:
    return copy.deepcopy(DEFAULTS)


def put(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    *blocks, last = key.split(".")
    target = changed
    for block in blocks:
        target = target[block]
    target[last] = value
    return changed


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("hash.bits", 60, "hash.bits = 60: must be 16, 32, 64, 128 or 256"),
        ("knn.k", 0, "knn.k = 0: must be greater than or equal to 1"),
        ("hash.bitz", 64, "unknown key hash.bitz = 64; allowed there: enabled, bits, batch_norm"),
        ("runs", {}, "unknown key runs = {}; allowed there: run, datasets, hardware"),
        (
            "datasets.sample.encoder.patches",
            1,
            "unknown key datasets.sample.encoder.patches = 1; allowed there: checkpoint, revision",
        ),
        ("agch.cures.all", True, "allowed there: text_batch_norm, leaky_relu"),
        ("run.dataset", "coco", "must be 'sample', 'coco2014', 'features', 'wiki', 'mir"),
        ("hash.enabled", "yes", "must be true or false"),
        ("fusion.mlp_dims", [], "fusion.mlp_dims = []: must have at least 1 item, not 0"),
        ("fusion.mlp_dims", 512, "fusion.mlp_dims = 512: must be a valid list"),
        ("agch.graph_dims", [8, 4, 2, 1], "must have at most 3 items, not 4"),
        ("train.lr", "fast", "must be a valid number"),
        ("train.lr", float("nan"), "must be a finite number"),
        ("train.lr", 1e-9, "min_lr = 1e-06 must not be above lr"),
        ("train.batch_size", 1, "must be greater than or equal to 2"),
        ("knn.tau", 0.0, "must be greater than 0"),
        ("knn.k", True, "must be a valid integer"),
        ("hardware.auto.processes", 0, "must be greater than or equal to 1"),
        ("classifier.use_bias", False, "prior_init needs use_bias"),
        ("datasets.sample.encoder", None, "datasets.sample.encoder is null"),
        ("zeroshot.prompts", ["a photo"], "must contain {} once"),
        (
            "datasets.coco2014.root",
            "",
            "datasets.coco2014.root = '': must have at least 1 character",
        ),
        (
            "hardware.cpu.extract_batch",
            "big",
            "hardware.cpu.extract_batch: 'big' must be auto or a whole number from 1",
        ),
        ("hardware.cpu.extract_batch", 0, "0 must be auto or a whole number from 1"),
        ("hardware.cpu.extract_batch", True, "True must be auto or a whole number from 1"),
    ],
)
def test_a_bad_value_gives_one_line_with_key_value_and_what_is_allowed(
    values: dict[str, Any], key: str, value: Any, expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        parse_params(put(values, key, value))
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert message.startswith("params.yaml: ")


@pytest.mark.parametrize("head", ["classifier", "hybrid"])
def test_a_head_that_zero_shot_does_not_have_is_refused(values: dict[str, Any], head: str) -> None:
    changed = put(values, "model.name", "zeroshot")
    assert parse_params(changed).knn.head == "knn"
    with pytest.raises(InputError, match=f"knn.head = {head} needs a trained classifier"):
        parse_params(put(changed, "knn.head", head))


def test_the_misspelt_key_is_named_before_the_missing_one(values: dict[str, Any]) -> None:
    changed = put(values, "hash.bit", 64)
    del changed["hash"]["bits"]
    with pytest.raises(InputError, match=r"unknown key hash\.bit = 64;.*\(and 1 more\)"):
        parse_params(changed)


@pytest.mark.parametrize(
    "changes",
    [{"hash.enabled": False}, {"model.name": "mlp"}, {"model.name": "zeroshot"}],
    ids=str,
)
def test_an_index_of_codes_needs_a_model_that_gives_codes(
    values: dict[str, Any], changes: dict[str, Any]
) -> None:
    for key, value in changes.items():
        values = put(values, key, value)
    assert parse_params(values).index.kind == "flat"
    with pytest.raises(InputError, match=r"index\.kind = ivf .* set index\.kind=flat$"):
        parse_params(put(values, "index.kind", "ivf"))


def test_of_the_shallow_methods_cca_gives_no_codes(values: dict[str, Any]) -> None:
    values = put(put(values, "model.name", "shallow"), "index.kind", "hnsw")
    assert parse_params(put(values, "shallow.method", "cmfh")).index.kind == "hnsw"
    with pytest.raises(InputError, match=r"set index\.kind=flat"):
        parse_params(put(values, "shallow.method", "cca"))


def test_ready_made_features_are_not_normalised_in_silence(values: dict[str, Any]) -> None:
    values = put(values, "features.normalise", True)
    assert parse_params(values).features.normalise
    with pytest.raises(InputError, match=r"normalise = true does nothing with run\.dataset = wiki"):
        parse_params(put(values, "run.dataset", "wiki"))


def test_integers_are_accepted_for_floats(values: dict[str, Any]) -> None:
    assert parse_params(put(values, "knn.tau", 1)).knn.tau == 1.0


LISTS = {"prompts", "mlp_dims", "graph_dims", "milestones"}


def test_every_key_has_a_comment_in_its_line_and_a_list_in_the_line_before() -> None:
    lines = PARAMS.read_text(encoding="utf-8").splitlines()
    explained = set()
    for before, line in pairwise(["", *lines]):
        stripped = line.strip()
        if stripped.startswith(("#", "-")) or not stripped:
            continue
        key, _, rest = stripped.partition(":")
        if key in LISTS:  # what stands in its line is lost when dvc exp run -S writes it
            assert before.strip().startswith("#"), f"no comment: {line}"
            assert "#" not in rest, f"comment in the line of a list: {line}"
            continue
        opens_a_block = rest.split("#")[0].strip() == ""
        if "#" in rest:
            explained.add(key)
        # Profiles repeat their keys; one comment a key is enough.
        assert opens_a_block or key in explained, f"no comment: {line}"


def test_scientific_notation_is_a_number_as_it_is_for_dvc(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    text = PARAMS.read_text(encoding="utf-8").replace("lr: 0.0002", "lr: 2e-4")
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_params(path).train.lr == 2e-4


@pytest.mark.parametrize("text", ["", "run: [", "- a\n- b\n", "run: {dataset: sample"])
def test_a_broken_file_gives_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"params\.yaml"):
        load_params(path)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run from the repository's root"):
        load_params(tmp_path / "params.yaml")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_no_value_of_any_kind_gives_a_traceback(junk: Any) -> None:
    for key in ("hash", "hash.bits", "fusion.mlp_dims", "run.dataset"):
        try:
            parse_params(put(DEFAULTS, key, junk))
        except InputError as error:
            assert str(error).startswith("params.yaml")  # noqa: PT017


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        ("agch", "model.inputs", "image"),
        ("ucmfh", "hash.enabled", False),
        ("shallow", "loss.pairwise_weight", 0.1),
        ("shallow", "hash.schedule", "linear"),
    ],
)
def test_a_setting_that_does_nothing_with_a_cross_modal_method_is_refused(
    values: dict[str, Any], model: str, key: str, value: Any
) -> None:
    parse_params(put(values, key, value))
    with pytest.raises(InputError, match=f"{key} = {value} does nothing with model.name = {model}"):
        parse_params(put(put(values, "model.name", model), key, value))
