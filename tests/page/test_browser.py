"""The page in a browser without a network, opened from the file system as a reader does."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mmhash.page.document import served
from mmhash.page.write import write_page

from ..conftest import BROWSER, needs_browser

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright absent")

pytestmark = needs_browser

HOSTILE = "<script>window.hacked=1</script>"
NAMES = ("person", "dog", HOSTILE, "car", "teddy bear", "toaster")
SHOWN = "figure[data-state=drawn]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def page_file(make_outputs: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "index.html"
    write_page(make_outputs(names=NAMES, across=True).root, file)
    return file


@pytest.fixture
def opened(browser: Any) -> Callable[..., Any]:
    """Open a page with the network cut; at the end nothing was asked for and nothing complained."""

    @contextmanager
    def open_page(file: Path, **options: Any) -> Iterator[Any]:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
        context.set_default_timeout(10_000)
        context.set_offline(True)
        asked: list[str] = []
        said: list[str] = []

        def guard(route: Any) -> None:
            if route.request.url.split("#")[0] == file.as_uri():
                route.continue_()
            else:
                asked.append(route.request.url)
                route.abort()

        context.route("**/*", guard)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(file.as_uri())
        page.wait_for_selector("body[data-state=ready]")
        yield page
        assert asked == []
        assert said == []
        context.close()

    return open_page


def column(page: Any, section: str, place: int) -> list[str]:
    cells = f"#{section} .content table >> nth=0 >> tbody tr > :nth-child({place})"
    return page.locator(cells).all_inner_texts()


def draw_all(page: Any) -> int:
    """Scroll through the page until every chart is drawn; return how many there are."""
    count = page.locator("figure").count()
    for place in range(count):
        figure = page.locator("figure").nth(place)
        figure.scroll_into_view_if_needed()
        sync_api.expect(figure).to_have_attribute("data-state", "drawn")
    return count


def test_every_section_is_filled_and_every_chart_drawn_and_described(
    opened: Callable[..., Any], page_file: Path
) -> None:
    with opened(page_file) as page:
        assert page.title() == "mmhash: full on coco2014"
        assert draw_all(page) >= 12
        for section in page.locator("main > section .content").all():
            assert section.inner_text().strip()
        for figure in page.locator("figure").all():
            words = figure.locator(".plot").get_attribute("aria-label")
            assert words
            assert len(words) > 30
            assert figure.locator("figcaption p").inner_text()
        # the numbers of a chart stand in a table, made when it is asked for
        first = page.locator("#overview figure details").first
        first.locator("summary").click()
        sync_api.expect(first.locator("tbody tr")).to_have_count(8)


def test_the_table_of_classes_sorts_and_filters(
    opened: Callable[..., Any], page_file: Path
) -> None:
    with opened(page_file) as page:
        header = page.locator("#classes thead th").filter(has_text="AP").first
        assert header.get_attribute("aria-sort") == "descending"
        figures = [float(v) for v in column(page, "classes", 2) if v != "–"]
        assert figures == sorted(figures, reverse=True)
        assert column(page, "classes", 2)[-1] == "–"  # no figure stands last
        header.locator("button").click()
        assert header.get_attribute("aria-sort") == "ascending"
        rising = [float(v) for v in column(page, "classes", 2) if v != "–"]
        assert rising == sorted(figures)
        assert column(page, "classes", 2)[-1] == "–"
        page.locator("#classes thead th button").first.click()
        assert column(page, "classes", 1) == sorted(NAMES, key=str.lower)
        page.fill("#class-filter", "BEAR")
        assert column(page, "classes", 1) == ["teddy bear"]
        assert "1 class of 6" in page.locator("#classes [role=status]").inner_text()
        page.fill("#class-filter", "")
        before = column(page, "classes", 4)
        page.select_option("#classes select >> nth=0", "zeroshot")
        assert column(page, "classes", 4) != before
        page.locator("#classes tbody th button").filter(has_text="dog").click()
        assert page.locator("#class-title").inner_text() == "Class: dog"


def test_the_explorer_finds_a_class_an_id_and_a_word(
    opened: Callable[..., Any], page_file: Path
) -> None:
    with opened(page_file) as page:
        status = page.locator("#explorer [role=status]")
        cards = page.locator("#explorer .gallery.tiny button")
        page.fill("#picture-search", "dog")
        sync_api.expect(status).to_contain_text("the class dog")
        assert cards.count() > 0
        labels = page.locator("#query .query dd").nth(1)
        assert "dog" in labels.inner_text()
        page.fill("#picture-search", "7")
        sync_api.expect(status).to_have_text("Test picture 7.")
        assert cards.count() == 1
        assert "a picture of 7" in page.locator("#query .captions").inner_text()
        near = page.locator("#query ol.gallery > li")
        assert near.count() == 20
        assert "of 16 bits" in near.first.inner_text()
        assert near.first.locator("img").count() == 1
        page.fill("#picture-search", "501")
        sync_api.expect(status).to_contain_text("501 is a picture of the database")
        page.fill("#picture-search", "picture of 12")
        sync_api.expect(status).to_contain_text("in a class or a caption")
        assert cards.count() == 1
        page.fill("#picture-search", "99999")
        sync_api.expect(status).to_contain_text("No picture with id 99999")


def test_a_tag_shows_which_neighbours_have_it(opened: Callable[..., Any], page_file: Path) -> None:
    with opened(page_file) as page:
        tag = page.locator("#query button.tag").filter(has_text="person").first
        tag.click()
        assert tag.get_attribute("aria-pressed") == "true"
        cards = page.locator("#query ol.gallery .card")
        for card in cards.all():
            has = "person" in card.locator(".tags, .quiet").first.inner_text().split("\n")
            assert ("dim" in (card.get_attribute("class") or "").split()) != has
        tag.click()
        assert page.locator("#query .card.dim").count() == 0


def test_a_mistake_leads_to_its_neighbours(opened: Callable[..., Any], page_file: Path) -> None:
    with opened(page_file) as page:
        page.select_option("#mistakes select >> nth=0", label="dog")
        page.select_option("#mistakes select >> nth=1", label="zero-shot")
        card = page.locator("#mistakes .gallery button").first
        image = card.locator(".small").inner_text().removeprefix("id ")
        card.click()
        assert f"id {image}" in page.locator("#query .query").inner_text()


def test_bits_switch(opened: Callable[..., Any], page_file: Path) -> None:
    with opened(page_file) as page:
        buttons = page.locator(".bit-map button")
        assert buttons.count() == 16
        buttons.nth(3).click()
        assert page.locator("#bit-title").inner_text().startswith("Bit 3: on for")
        assert buttons.nth(3).get_attribute("aria-pressed") == "true"
        shown = page.locator("#bits .gallery").first.inner_text()
        buttons.nth(4).click()
        assert page.locator(".bit-map button[aria-pressed=true]").count() == 1
        assert page.locator("#bits .gallery").first.inner_text() != shown
        # a correlated bit is one press away
        page.locator("#bits tbody th button").first.click()
        assert not page.locator("#bit-title").inner_text().startswith("Bit 4:")


def test_hostile_captions_and_names_stay_text(opened: Callable[..., Any], page_file: Path) -> None:
    with opened(page_file) as page:
        page.fill("#picture-search", "1")
        assert "<script>" in page.locator("#query .captions").inner_text()
        page.locator("#classes tbody th button").filter(has_text="hacked").click()
        page.select_option("#confusion select", "knn")
        draw_all(page)
        assert page.evaluate("window.hacked") is None
        assert page.title() == "mmhash: full on coco2014"
        assert page.locator("main script, main img[src='x']").count() == 0


def test_an_injected_script_would_not_run(browser: Any, page_file: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text))
    page.goto(page_file.as_uri())
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.hacked = 1';"
        " document.body.append(s); document.body.insertAdjacentHTML('beforeend',"
        ' \'<img src="data:,x" onerror="window.hacked = 2">\'); }'
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in text for text in blocked)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(
    opened: Callable[..., Any], page_file: Path, scheme: str
) -> None:
    with opened(page_file, color_scheme=scheme) as page:
        paper = "getComputedStyle(document.body).backgroundColor"
        first = page.evaluate(paper)
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        chart = page.locator("#overview figure svg text").first
        ink = "element => getComputedStyle(element).fill"
        colour = chart.evaluate(ink)
        page.locator("#theme").click()
        other = {"light": "dark", "dark": "light"}[scheme]
        assert page.evaluate("document.documentElement.dataset.theme") == other
        assert page.evaluate(paper) != first
        page.wait_for_function(
            "colour => getComputedStyle(document.querySelector('#overview figure svg text')).fill"
            " !== colour",
            arg=colour,
        )


def test_a_phone_scrolls_down_only(opened: Callable[..., Any], page_file: Path) -> None:
    with opened(page_file, viewport={"width": 360, "height": 740}, is_mobile=True) as page:
        draw_all(page)
        for summary in page.locator("details > summary").all():
            summary.click()
        width, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width == window == 360


def test_the_keyboard_reaches_and_works_everything(
    opened: Callable[..., Any], page_file: Path
) -> None:
    def focused(page: Any, script: str) -> Any:
        return page.evaluate(f"(() => {{ const e = document.activeElement; return {script}; }})()")

    def tab_to(page: Any, script: str) -> None:
        for _ in range(400):
            page.keyboard.press("Tab")
            if focused(page, script):
                return
        raise AssertionError(f"the Tab key never reaches {script}")

    with opened(page_file) as page:
        page.keyboard.press("Tab")
        assert focused(page, "e.className") == "skip"
        page.keyboard.press("Enter")
        assert focused(page, "e.id") == "main"
        tab_to(page, "e.closest('#classes thead th') !== null && e.textContent === 'F1'")
        width = focused(page, "getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth")
        assert width == "solid3px"
        page.keyboard.press("Enter")
        assert focused(page, "e.closest('th').getAttribute('aria-sort')") == "descending"
        tab_to(page, "e.id === 'picture-search'")
        page.keyboard.type("car")
        assert "the class car" in page.locator("#explorer [role=status]").inner_text()
        tab_to(page, "e.matches('#explorer .gallery button:not([aria-pressed=true])')")
        image = focused(page, "e.dataset.id")
        page.keyboard.press("Enter")
        assert focused(page, "e.id") == "query"
        assert f"id {image}" in page.locator("#query .query").inner_text()
        tab_to(page, "e.matches('.bit-map button')")
        page.keyboard.press("Space")
        assert focused(page, "e.getAttribute('aria-pressed')") == "true"


def test_a_method_without_codes_on_features_without_pictures(
    opened: Callable[..., Any], make_outputs: Callable[..., Any], tmp_path: Path
) -> None:
    made = make_outputs(pictures=False, captions=False, bits=0, heads=("knn",), epochs=0)
    write_page(made.root, tmp_path / "index.html")
    with opened(tmp_path / "index.html") as page:
        draw_all(page)
        assert "has no binary codes" in page.locator("#bits").inner_text()
        assert page.locator(".bit-map").count() == 0
        assert "not trained by epochs" in page.locator("#training").inner_text()
        assert "without pictures" in page.locator("#explorer").inner_text()
        assert "none came with the data" in page.locator("#query").inner_text()
        assert "id 5" in page.locator("#query ol.gallery").inner_text()
        assert page.locator("main img").count() == 0


def test_missing_pieces_are_named_with_the_mend(
    opened: Callable[..., Any], make_outputs: Callable[..., Any], tmp_path: Path
) -> None:
    made = make_outputs()
    for name in ("data", "predictions", "model", "index"):
        shutil.rmtree(made.root / name)
    write_page(made.root, tmp_path / "index.html")
    with opened(tmp_path / "index.html") as page:
        for section in ("classes", "explorer", "mistakes", "confusion", "bits", "training"):
            text = page.locator(f"#{section} .missing").inner_text()
            assert "no such file" in text
            assert "dvc repro" in text
        assert page.locator("#overview .tiles li").count() >= 4


def test_the_form_is_hidden_on_disk_and_predictions_use_the_same_cards(
    opened: Callable[..., Any], page_file: Path, tmp_path: Path
) -> None:
    prediction = {
        "tags": [
            {"name": "dog", "score": 0.9, "chosen": True, "threshold": 0.5},
            {"name": HOSTILE, "score": 0.2, "chosen": False, "threshold": 0.5},
        ],
        "neighbours": [
            {
                "image_id": 501,
                "distance": 3.0,
                "share": 0.6,
                "caption": HOSTILE,
                "categories": ["dog"],
                "thumbnail": "https://example.org/never-asked.png",
            }
        ],
        "image_only": True,
        "accuracy": {"mAP": 0.25, "mAP_low": 0.2, "mAP_high": 0.3},
    }
    with opened(page_file) as page:
        assert page.locator("#predict").is_hidden()
        assert page.locator("#nav-predict").is_hidden()
    file = tmp_path / "served.html"
    file.write_text(served(page_file.read_text(encoding="utf-8")), encoding="utf-8")
    with opened(file) as page:
        assert page.locator("#predict").is_visible()
        page.evaluate(
            "p => mmhashPage.renderPrediction(p, document.getElementById('prediction'))", prediction
        )
        place = page.locator("#prediction")
        rows = place.locator("button.score-row")
        assert rows.first.inner_text().split() == ["dog", "✓", "0.90", "≥", "0.50"]
        assert rows.last.locator(".score-name").inner_text() == HOSTILE
        assert place.locator(".card.shares .caption").inner_text() == HOSTILE
        assert "3 of 16 bits" in place.inner_text()
        assert "Image only: accuracy mAP 0.250" in place.inner_text()
        assert "mmhash index" not in place.inner_text()
        page.evaluate(
            "p => mmhashPage.renderPrediction(p, document.getElementById('prediction'))",
            prediction | {"changed": True},
        )
        assert ", before mmhash index changed the database" in place.inner_text()
        assert place.locator("img").count() == 0


def test_retrieval_figures_stand_with_their_bounds(
    opened: Callable[..., Any], page_file: Path
) -> None:
    with opened(page_file) as page:
        table = page.locator("table", has_text="ties at worst").first
        for figure, bounds in (("mAP@50", ("0.6000", "0.8000")), ("P@1", ("0.6500", "0.7500"))):
            row = table.locator("tbody tr", has_text=figure).first
            assert all(bound in row.inner_text() for bound in bounds)
