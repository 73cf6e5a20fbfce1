"""Write the code dependencies of each stage into dvc.yaml, from what the stage really imports.

    python scripts/code_deps.py

DVC runs a stage again when one of its dependencies has changed, so a module that a stage imports
and dvc.yaml does not list would leave old results standing, silently. Run this after a change of
imports; tests/pipeline/test_dvc_rules.py fails as long as the two differ.
"""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The schema only validates; leaving it out keeps a new key from re-running the world.
NOT_A_DEPENDENCY = {"src/mmhash/params.py", "src/mmhash/method_params.py"}
# Imported with every module, and what it imports itself is for users (mmhash.load), no stage's.
NOT_FOLLOWED = {ROOT / "src" / "mmhash" / "__init__.py"}


def module_file(name: str) -> Path | None:
    """Return the source file of module ``name`` of this project, or None for other packages."""
    base = (ROOT / "stages" if name == "_checkout" else ROOT / "src").joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def imported_files(source: Path) -> frozenset[Path]:
    """Return every project file that ``source`` imports, directly or not, lazily or not."""
    found: set[Path] = set()
    queue = [source]
    while queue:
        opened = queue.pop()
        if opened in NOT_FOLLOWED:
            continue
        for node in ast.walk(ast.parse(opened.read_text(encoding="utf-8"))):
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
    """Return the code that decides what ``stage`` writes, as paths below the root."""
    script = ROOT / "stages" / f"{stage}.py"
    files = {script, *imported_files(script)}
    # An __init__ that holds a docstring alone cannot change a result.
    with_code = {file for file in files if file.name != "__init__.py" or has_code(file)}
    names = {file.relative_to(ROOT).as_posix() for file in with_code}
    return names if stage == "check_params" else names - NOT_A_DEPENDENCY


def has_code(file: Path) -> bool:
    """Return whether a module holds more than its docstring."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(
        not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body
    )


def main() -> None:
    """Replace the ``*.py`` entries below ``deps`` of each stage; all other lines stay."""
    path = ROOT / "dvc.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    written: list[str] = []
    stage = ""
    for position, line in enumerate(lines):
        if line.startswith("  ") and line[2:3].isalpha() and line.endswith(":"):
            stage = line.strip(" :")
        if line.startswith("    - ") and line.endswith(".py"):
            if not lines[position + 1].endswith(".py"):  # the last one of the stage
                # stages/ before src/, as a reader meets them
                code = sorted(code_of_stage(stage), key=lambda name: (name[:4] == "src/", name))
                written += [f"    - {name}" for name in code]
            continue
        written.append(line)
    path.write_text("\n".join(written) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
