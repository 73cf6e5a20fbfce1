"""The rules of DVC that break silently: properties of dvc.yaml and of the imports of the stages."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

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
# The schema only validates; leaving it out keeps a new key from re-running the world.
NOT_A_DEPENDENCY = {"src/mmhash/params.py"}


def pipeline() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def module_file(name: str) -> Path | None:
    """The source file of module ``name`` of this project, or None for other packages."""
    base = (ROOT / "stages" if name == "_checkout" else ROOT / "src").joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def imported_files(source: Path) -> frozenset[Path]:
    """Every project file that ``source`` imports, directly or not, lazily or not."""
    found: set[Path] = set()
    queue = [source]
    while queue:
        for node in ast.walk(ast.parse(queue.pop().read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.level == 0, "absolute imports only"
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                parts = name.split(".")
                for end in range(1, len(parts) + 1):  # importing a.b.c runs a, a.b and a.b.c
                    file = module_file(".".join(parts[:end]))
                    if file is not None and file not in found:
                        found.add(file)
                        queue.append(file)
    return frozenset(found)


def code_of_stage(stage: str) -> set[str]:
    script = ROOT / "stages" / f"{stage}.py"
    files = {script, *imported_files(script)}
    # An __init__ that holds a docstring alone cannot change a result.
    with_code = {file for file in files if file.name != "__init__.py" or has_code(file)}
    names = {file.relative_to(ROOT).as_posix() for file in with_code}
    return names if stage == "check_params" else names - NOT_A_DEPENDENCY


def has_code(file: Path) -> bool:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(
        not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body
    )


def test_the_stages_stand_in_order() -> None:
    assert list(pipeline()["stages"]) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_deps_of_a_stage_equal_its_real_imports(stage: str) -> None:
    deps = {dep for dep in pipeline()["stages"][stage]["deps"] if dep.endswith(".py")}
    assert deps == code_of_stage(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_no_dependency_or_output_is_raw_data_or_a_folder_of_code(stage: str) -> None:
    entry = pipeline()["stages"][stage]
    outs = [next(iter(o)) if isinstance(o, dict) else o for o in entry.get("outs", [])]
    for path in [*entry["deps"], *outs]:
        assert not path.startswith(("data/sample/raw", "data/coco", "data/features"))
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


def test_setting_a_parameter_and_back_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    from dvc.utils.serialize import modify_yaml

    copy = tmp_path / "params.yaml"
    copy.write_bytes((ROOT / "params.yaml").read_bytes())
    for bits in (128, 64):
        with modify_yaml(str(copy)) as values:
            values["hash"]["bits"] = bits
    assert copy.read_bytes() == (ROOT / "params.yaml").read_bytes()
