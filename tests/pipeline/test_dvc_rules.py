"""The rules of DVC that break silently: properties of dvc.yaml and of the imports of the stages."""

import ast
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from mmhash.params import CROSS_MODAL, Params

ROOT = Path(__file__).resolve().parents[2]
STAGES = [
    "check_params",
    "fetch_data",
    "index_coco",
    "download_karpathy_split",
    "extract_features",
    "encode_classes",
    "train",
    "build_index",
    "evaluate",
    "plot",
]


def code_deps() -> ModuleType:
    """The script that writes the code dependencies, as a module."""
    spec = importlib.util.spec_from_file_location("code_deps", ROOT / "scripts" / "code_deps.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pipeline() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def test_the_stages_stand_in_order() -> None:
    assert list(pipeline()["stages"]) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_deps_of_a_stage_equal_its_real_imports(stage: str) -> None:
    deps = {dep for dep in pipeline()["stages"][stage]["deps"] if dep.endswith(".py")}
    assert deps == code_deps().code_of_stage(stage), "run python scripts/code_deps.py"


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_stage_that_sums_the_pictures_depends_on_what_draws_them(stage: str) -> None:
    deps = pipeline()["stages"][stage]["deps"]
    draws = [dep for dep in deps if dep.startswith("src/mmhash/data/sample/")]
    assert bool(draws) == (stage == "fetch_data")
    if stage != "fetch_data" and "src/mmhash/data/raw.py" in deps:
        assert "data/manifest.json" in deps


@pytest.mark.parametrize("stage", STAGES)
def test_no_dependency_or_output_is_raw_data_or_a_folder_of_code(stage: str) -> None:
    entry = pipeline()["stages"][stage]
    outs = [next(iter(o)) if isinstance(o, dict) else o for o in entry.get("outs", [])]
    for path in [*entry["deps"], *outs]:
        assert not path.startswith(("data/sample/raw", "data/coco", "data/features"))
        assert not path.startswith(("data/wiki", "data/mirflickr25k", "data/nuswide"))
        assert path not in ("src", "src/mmhash", "stages")
        assert not (path.startswith("src/") and (ROOT / path).is_dir())


@pytest.mark.parametrize("stage", STAGES)
def test_no_parameter_reaches_a_command(stage: str) -> None:
    command = pipeline()["stages"][stage]["cmd"]
    assert "$" not in command
    assert command == f"python stages/{stage}.py"


@pytest.mark.parametrize("stage", STAGES)
def test_plain_outs_keep_the_run_cache_and_never_persist(stage: str) -> None:
    for out in pipeline()["stages"][stage].get("outs", []):
        options = next(iter(out.values())) if isinstance(out, dict) else {}
        assert options.get("cache", True), f"{out}: cache: false switches the run cache off"
        assert not options.get("persist", False), f"{out}: persist reuses old results silently"


@pytest.mark.parametrize("stage", STAGES)
def test_hardware_is_no_parameter_of_a_stage(stage: str) -> None:
    for name in pipeline()["stages"][stage].get("params", []):
        assert not name.startswith(("hardware", "run.hardware"))


def test_the_block_of_every_cross_modal_method_is_a_parameter_of_training() -> None:
    assert set(CROSS_MODAL) <= set(pipeline()["stages"]["train"]["params"])
    assert set(CROSS_MODAL) <= set(Params.model_fields)


@pytest.mark.parametrize("stage", ["extract_features", "encode_classes"])
def test_all_files_of_a_checkpoint_count_not_its_weights_alone(stage: str) -> None:
    files = [path for path in (ROOT / "encoders").glob("*/*") if path.name != "README.md"]
    assert len(files) == 10
    listed = set(pipeline()["stages"][stage]["deps"])
    assert {path.relative_to(ROOT).as_posix() for path in files} <= listed


@pytest.mark.parametrize("stage", STAGES)
def test_what_no_stage_makes_is_a_file_so_that_ablations_can_name_its_state(stage: str) -> None:
    made = {
        next(iter(out)) if isinstance(out, dict) else out
        for entry in pipeline()["stages"].values()
        for out in entry.get("outs", [])
    }
    for path in pipeline()["stages"][stage]["deps"]:
        sourced = not any(path == out or path.startswith(f"{out}/") for out in made)
        assert not sourced or not (ROOT / path).is_dir(), path


def test_cost_readings_are_outside_git_and_dvc() -> None:
    assert "/metrics/cost/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "metrics/cost" not in (ROOT / "dvc.yaml").read_text(encoding="utf-8")


def test_nothing_unpickles_and_no_shell_is_started() -> None:
    for file in [*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "joblib", "shelve", "dill"}, file
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell"):
                assert not (isinstance(node.value, ast.Constant) and node.value.value), file
            if isinstance(node, ast.Attribute) and node.attr == "load":
                assert not (isinstance(node.value, ast.Name) and node.value.id == "torch"), file


@pytest.mark.parametrize(
    "changes",
    [
        ["hash.bits=128", "hash.bits=64"],
        ["fusion.mlp_dims=[256]", "fusion.mlp_dims=[]", "fusion.mlp_dims=[1024,512]"],
        ["agch.graph_dims=[]", "agch.graph_dims=[4096,2048]"],
        ["agch.milestones=[3,5]", "agch.milestones=[]"],
        ["ucmfh.milestones=[3,5]", "ucmfh.milestones=[]", "ucmfh.milestones=null"],
        [
            "zeroshot.prompts=[]",
            "zeroshot.prompts=['a photo of a {}.','a picture with a {} in it.',"
            "'there is a {} in the scene.']",
        ],
    ],
    ids=lambda changes: changes[0].partition("=")[0],
)
def test_setting_a_parameter_and_back_leaves_the_file_as_it_was(
    tmp_path: Path, changes: list[str]
) -> None:
    # dvc exp run -S writes every list anew, without the comment in its line
    copy = tmp_path / "params.yaml"
    copy.write_bytes((ROOT / "params.yaml").read_bytes())
    for change in changes:
        apply_overrides(str(copy), [change])
        assert YAML(typ="safe").load(copy)
    assert copy.read_bytes() == (ROOT / "params.yaml").read_bytes()
