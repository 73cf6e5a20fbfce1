"""``dvc plots show`` and ``dvc plots diff`` open offline with every chart drawn."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mmhash.plots.write import write_plots

from ..conftest import BROWSER, needs_browser

OFFLINE = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=10000"),
]
CODES_ONLY = {
    *("h_histogram", "bit_balance", "bit_correlation", "codes_by_epoch"),
    "retrieval_by_distance",
}
ACROSS_ONLY = {
    *("across_by_distance", "across_top_n", "sheet_image_to_text", "sheet_text_to_image"),
    "agch_diagnostics",
}
TRAINED_ONLY = {"training", "classes_classifier", "classes_hybrid"}


def definitions(repository: Path) -> dict[str, dict[str, Any]]:
    """The charts that dvc.yaml defines on the tables of ``plots/``."""
    entries = YAML(typ="safe", pure=True).load((repository / "dvc.yaml").read_text())["plots"]
    charts = {name: value for entry in entries for name, value in entry.items() if value}
    return {
        name: value
        for name, value in charts.items()
        if isinstance(value.get("y"), dict) and all(f.startswith("plots/") for f in value["y"])
    }


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def dvc(folder: Path, *arguments: str) -> str:
    return run(folder, sys.executable, "-m", "dvc", *arguments)


class Page(HTMLParser):
    """What the browser made of a page: state and number of pictures of each chart."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, str] = {}
        self.pictures: dict[str, int] = {}
        self.marks: dict[str, list[tuple[str, str]]] = {}
        self.requests: list[str] = []
        self.chart = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "div" and "data-state" in found:
            self.chart = found["id"]
            self.states[self.chart] = found["data-state"]
        if tag in ("svg", "canvas") and self.chart and "marks" in found.get("class", ""):
            self.pictures[self.chart] = self.pictures.get(self.chart, 0) + 1
        if tag == "path" and "aria-label" in found:
            self.marks.setdefault(self.chart, []).append((found["aria-label"], found.get("d", "")))
        if tag in ("script", "link", "img", "iframe") and (found.get("src") or found.get("href")):
            self.requests.append(self.get_starttag_text() or tag)


def opened(index: Path) -> Page:
    page = Page()
    assert BROWSER
    profile = f"--user-data-dir={index.parent / 'profile'}"
    page.feed(run(index.parent, BROWSER, *OFFLINE, profile, "--dump-dom", index.as_uri()))
    return page


@pytest.fixture(scope="module")
def checkout(
    repository: Path,
    make_stages: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A DVC repository whose HEAD and workspace hold the plots of two runs."""
    folder = tmp_path_factory.mktemp("checkout")
    run(folder, "git", "init", "-q")
    run(folder, "git", "config", "user.email", "test@example.org")
    run(folder, "git", "config", "user.name", "test")
    dvc(folder, "init", "-q")
    shutil.copytree(repository / ".dvc/plots", folder / ".dvc/plots")
    for name in ("config", "plots_page.html"):
        shutil.copy(repository / ".dvc" / name, folder / ".dvc" / name)
    shutil.copy(repository / "params.yaml", folder)
    with (folder / "dvc.yaml").open("w") as stream:
        charts = [{name: chart} for name, chart in definitions(repository).items()]
        YAML().dump({"plots": charts}, stream)
    write_plots(**make_stages(seed=1).arguments(folder / "plots"))
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "first")
    shutil.rmtree(folder / "plots")
    write_plots(**make_stages(seed=2, epochs=5).arguments(folder / "plots"))
    return folder


def test_every_table_has_a_definition_and_every_definition_a_template(
    repository: Path, make_stages: Callable[..., Any], tmp_path: Path, no_pictures: None
) -> None:
    write_plots(**make_stages(classes=3, epochs=1).arguments(tmp_path))
    drawn: dict[str, dict[str, Any]] = {}
    for definition in definitions(repository).values():
        drawn |= dict.fromkeys(definition["y"], definition)
    written = {f"plots/{path.name}" for path in tmp_path.glob("*.csv")}
    assert written == set(drawn)
    for file in written:
        header = (tmp_path / Path(file).name).read_text().splitlines()[0].split(",")
        assert {drawn[file]["x"], drawn[file]["y"][file]} <= set(header)
        template = repository / ".dvc/plots" / f"{drawn[file]['template']}.json"
        fields = re.findall(r'"field": "(\w+)"', template.read_text())
        made = {"rev", "figure", "value", "row"}  # by DVC and by transforms of the template
        assert set(fields) <= set(header) | made, template


def test_the_page_is_what_its_script_makes(repository: Path) -> None:
    script = repository / "third_party/vega/build_template.py"
    spec = importlib.util.spec_from_file_location("build_template", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (repository / ".dvc/plots_page.html").read_text(encoding="utf-8")
    assert page == module.page()
    assert len(page.encode()) < 1.5e6
    assert "{scripts}" not in page  # DVC would put its links to a CDN there
    hostile = module.inline('a = "</script><!--";\n//# sourceMappingURL=a.map\n')
    assert hostile == '<script>\na = "<\\/script><\\!--";\n</script>'
    with pytest.raises(ValueError, match="plot_divs"):
        module.inline("a = {plot_divs}")


@pytest.mark.parametrize("template", ["class_figures", "sorted_bars", "histograms"])
def test_bars_of_several_revisions_stand_side_by_side(repository: Path, template: str) -> None:
    text = (repository / ".dvc/plots" / f"{template}.json").read_text()
    offset = re.search(r'"[xy]Offset": (\{[^}]*\})', text)
    assert offset
    assert json.loads(offset[1])["field"] == "rev"


@needs_browser
def test_show_draws_every_chart_without_a_network(checkout: Path, repository: Path) -> None:
    dvc(checkout, "plots", "show")
    page = opened(checkout / "dvc_plots/index.html")
    charts = definitions(repository)
    assert page.states == dict.fromkeys(charts, "drawn")
    assert page.pictures == dict.fromkeys(charts, 1)
    assert page.requests == []


@needs_browser
def test_diff_draws_the_bars_of_both_revisions(checkout: Path) -> None:
    dvc(checkout, "plots", "diff", "HEAD")
    page = opened(checkout / "dvc_plots/index.html")
    assert set(page.states.values()) == {"drawn"}
    bars = [(label, path) for label, path in page.marks["class_frequency"] if "person" in label]
    assert len(bars) == 2
    # Both start at the axis: no bar stands on the end of the other, as a sum would.
    assert all(path.startswith("M0,") for _, path in bars)
    now = (checkout / "plots/class_frequency.csv").read_text()
    before = run(checkout, "git", "show", "HEAD:plots/class_frequency.csv")
    for revision, text in (("HEAD", before), ("workspace", now)):
        count = re.search(r"^person,(\d+)$", text, re.MULTILINE)
        (label,) = (label for label, _ in bars if revision in label)
        assert count
        assert count[1] in label.replace(",", "")
    for name in ("confusion", "bit_correlation"):  # every cell of both heat maps
        cells = (checkout / f"plots/{name}.csv").read_text().splitlines()[1:]
        cells += run(checkout, "git", "show", f"HEAD:plots/{name}.csv").splitlines()[1:]
        assert len(page.marks[name]) == len(cells)


@needs_browser
def test_a_run_without_training_and_codes_says_that_there_is_nothing_to_draw(
    checkout: Path, make_stages: Callable[..., Any], tmp_path: Path
) -> None:
    checkout = shutil.copytree(checkout, tmp_path / "checkout")
    shutil.rmtree(checkout / "plots")
    stages = make_stages(seed=3, epochs=0)
    stages.without("classifier", "hybrid")
    stages.without_codes()
    stages.without_across()
    write_plots(**stages.arguments(checkout / "plots", bits=None))
    dvc(checkout, "plots", "show")
    page = opened(checkout / "dvc_plots/index.html")
    absent = CODES_ONLY | TRAINED_ONLY | ACROSS_ONLY
    assert {name for name, state in page.states.items() if state == "empty"} == absent
    assert set(page.states.values()) == {"empty", "drawn"}
    dvc(checkout, "plots", "diff", "HEAD")  # beside a revision that has all of them
    page = opened(checkout / "dvc_plots/index.html")
    assert set(page.states.values()) == {"drawn"}
