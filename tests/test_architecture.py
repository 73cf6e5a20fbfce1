"""The house: short modules, arrows that point one way, no circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "mmhash"
# Lower floors first. A module imports from its own floor or a lower one only.
FLOORS = [
    ["errors"],
    ["files", "seeding", "progress", "ranks"],
    ["method_params", "wholeness"],
    ["cost", "params", "tracking"],
    ["data"],
    ["encoders"],
    ["codes"],
    ["index"],
    ["voting"],
    ["retriever", "collection"],
    ["changes", "additions", "added_categories", "images"],
    ["metrics"],
    ["models"],
    ["losses"],
    ["training"],
    ["features", "experiment", "tuned", "unfreezing", "image_only"],
    ["heads"],
    ["prediction", "measured"],
    ["database"],
    ["trained"],
    ["evaluation", "across", "ablations"],
    ["experiments"],
    ["comparison"],
    ["plots"],
    ["page"],
    ["serve"],
    ["export"],
    ["cli"],
]
HEIGHT = {name: floor for floor, names in enumerate(FLOORS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(file: Path) -> str:
    name = ".".join(("mmhash", *file.relative_to(PACKAGE).with_suffix("").parts))
    return name.removesuffix(".__init__")


def imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    known = {dotted(module) for module in MODULES}
    return {name for name in names if name in known and name != "mmhash"}


@pytest.mark.parametrize("file", MODULES, ids=dotted)
def test_a_module_is_at_most_400_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("file", MODULES, ids=dotted)
def test_arrows_point_downwards(file: Path) -> None:
    if file == PACKAGE / "__init__.py":
        return
    own = HEIGHT[dotted(file).split(".")[1]]
    for name in imports(file):
        assert HEIGHT[name.split(".")[1]] <= own, f"{dotted(file)} imports {name}"


def test_there_is_no_circular_import() -> None:
    graph = {dotted(file): imports(file) for file in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for below in graph[name]:
                visit(below, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("file", MODULES, ids=dotted)
def test_every_module_and_public_function_says_what_it_is(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "module docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list):
                continue  # a typing overload; the function itself follows
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("file", MODULES, ids=dotted)
def test_the_web_server_is_imported_by_serve_alone(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    web = {name for name in names if name.split(".")[0] in ("flask", "werkzeug", "waitress")}
    assert not web or dotted(file).startswith("mmhash.serve.")
