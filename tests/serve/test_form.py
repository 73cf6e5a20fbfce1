"""The form in a real browser: ``mmhash serve`` on a small finished run."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

import mmhash.page.document
from mmhash.files import read_json, read_table, write_json, write_table
from mmhash.serve.app import UPLOAD_BYTES

from ..conftest import BROWSER, change_params, needs_browser

pytestmark = needs_browser
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
WAIT = 60_000  # milliseconds; a busy machine is no fault
expect.set_options(timeout=WAIT)


@pytest.fixture(scope="module")
def small_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with 25 voters, and markup in the captions and the first category's name."""
    root = tmp_path_factory.mktemp("serve") / "checkout"
    shutil.copytree(trained_run, root, symlinks=True)
    change_params(root, {"knn": {"k": 25}})
    categories = read_json(root / "data/categories.json")
    categories[0]["name"] += MARKUP
    write_json(root / "data/categories.json", categories)
    table = read_table(root / "data/images.parquet")
    captions = [[text + MARKUP for text in row] for row in table["captions"].to_pylist()]
    place = table.column_names.index("captions")
    table = table.set_column(place, table.schema.field(place), pa.array(captions))
    write_table(root / "data/images.parquet", table)
    return root


@pytest.fixture(scope="module")
def server(small_run: Path, repository: Path) -> Iterator[str]:
    """The address of a server on the small run; it must end well and have left nothing behind."""
    environment = os.environ | {"PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from mmhash.cli.main import main; main()"),
            *("serve", "--port", "0", "--run", str(small_run)),
        ],
        cwd=repository,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.communicate()[1])
    before = everything(small_run)
    yield line.split()[0]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert everything(small_run) == before


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, server: str) -> Iterator[Callable[..., Page]]:
    """Open the page of the server; no test may open a dialog, fail a script, or ask elsewhere."""
    faults: list[str] = []
    contexts = []

    def open_page(**settings: Any) -> Page:
        context = browser.new_context(**settings)
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()

        def refuse(dialog: Any) -> None:
            faults.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        def note(request: Any) -> None:
            if not request.url.startswith((server, "data:", "blob:")):
                faults.append(f"request: {request.url}")

        page.on("dialog", refuse)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", note)
        page.goto(server)
        page.wait_for_selector("body[data-state=ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def files(small_run: Path) -> list[Path]:
    """Pictures of the run's dataset."""
    return sorted((small_run / "pictures/images/val2014").glob("*.jpg"))


@pytest.fixture
def a_file(files: list[Path]) -> Path:
    """One of them."""
    return files[0]


def ask(page: Page, file: Any, caption: str = "") -> None:
    page.set_input_files("input[name=picture]", file)
    page.fill("input[name=caption]", caption)
    page.click("#predict-form button[type=submit]")


def answered(page: Page) -> None:
    expect(page.locator("#prediction h3").first).to_have_text("Tags")
    expect(page.locator("#predict-status")).to_have_text("")


def shown_error(page: Page) -> str:
    expect(page.locator("#predict-status.wrong")).not_to_have_text("")
    assert page.locator("#prediction").inner_html() == ""
    return page.inner_text("#predict-status")


def test_a_picture_with_its_caption_gets_tags_and_the_neighbours_that_voted(
    open_page, a_file: Path
) -> None:
    page = open_page()
    expect(page.locator("#predict")).to_be_visible()
    ask(page, a_file, "a dog on the grass")
    answered(page)
    rows = page.locator(".score-row")
    expect(rows).to_have_count(5)
    scores = [float(text.split()[0]) for text in page.locator(".score-value").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    expect(page.locator(".score-bar .mark")).to_have_count(5)
    cards = page.locator("#prediction .gallery .card")
    expect(cards).to_have_count(20)
    expect(page.locator("#prediction .gallery img")).to_have_count(20)
    cards.first.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('#prediction .gallery img')].every((i) => { i.loading = "
        "'eager'; return i.complete && i.naturalWidth > 0; })"
    )
    assert re.search(r"\d+ of 16 bits", cards.first.inner_text())
    assert re.search(r"Accuracy: mAP 0\.\d+ on the test pictures", page.inner_text("#prediction"))
    expect(page.locator("#predict-preview img")).to_be_visible()
    rows.first.click()
    name = rows.first.locator(".score-name bdi").inner_text()
    lit = page.locator("#prediction .card:not(.dim)")
    for card in lit.all():
        assert name in card.locator(".tags").inner_text()
    assert lit.count() < 20 or page.locator(f".card .tags :text-is('{name}')").count() >= 20


def test_a_picture_alone_says_so_with_its_own_accuracy(
    open_page, a_file: Path, small_run: Path
) -> None:
    page = open_page()
    ask(page, a_file)
    answered(page)
    figures = json.loads((small_run / "metrics/eval.json").read_text())["test"]["image_only"]
    expected = f"Image only: accuracy mAP {figures['knn']['mAP']:.3f} on the test pictures"
    assert expected in page.inner_text("#prediction")


def test_it_works_by_keyboard(open_page, a_file: Path) -> None:
    page = open_page()
    page.focus("input[name=picture]")
    page.set_input_files("input[name=picture]", a_file)
    page.keyboard.press("Tab")
    page.keyboard.type("two people")
    page.keyboard.press("Enter")
    answered(page)
    assert page.evaluate("document.activeElement.textContent") == "Tags"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"


def test_a_picture_may_be_dropped_anywhere(open_page, a_file: Path) -> None:
    page = open_page()
    held = page.evaluate_handle(
        "(bytes) => { const held = new DataTransfer(); held.items.add(new File([new Uint8Array("
        "bytes)], 'dropped.jpg', {type: 'image/jpeg'})); return held; }",
        list(a_file.read_bytes()),
    )
    page.dispatch_event("#h-overview", "drop", {"dataTransfer": held})
    expect(page.locator("#predict-preview img")).to_be_visible()
    page.click("#predict-form button[type=submit]")
    answered(page)


def test_it_says_that_it_waits_and_a_late_answer_to_another_picture_is_dropped(
    open_page, files: list[Path]
) -> None:
    page = open_page()
    waiting: list[Any] = []
    page.route("**/predict", lambda route: waiting.append(route))
    ask(page, files[0])
    expect(page.locator("#predict-status")).to_have_text("Predicting …")
    expect(page.locator("#predict-form")).to_have_attribute("aria-busy", "true")
    page.click("#predict-form button[type=submit]")  # pressed again: asked once
    page.set_input_files("input[name=picture]", files[1])
    expect(page.locator("#predict-status")).to_have_text("")
    with page.expect_response("**/predict"):
        waiting[0].continue_()
    page.wait_for_timeout(200)
    assert page.locator("#prediction").inner_html() == ""
    assert len(waiting) == 1
    page.unroute("**/predict")
    page.click("#predict-form button[type=submit]")
    answered(page)


def test_hostile_pictures_are_one_line_and_the_next_one_is_answered(
    open_page, a_file: Path, hostile_pictures, tmp_path: Path
) -> None:
    page = open_page()
    for name, (content, expected) in hostile_pictures.items():
        (tmp_path / name).write_bytes(content)
        ask(page, tmp_path / name)
        line = shown_error(page)
        assert line.startswith(f"{name}: ")
        assert expected in line
        assert "\n" not in line
    markup = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    markup.write_bytes(b"no picture")
    ask(page, markup)
    assert shown_error(page).startswith("<img src=x onerror=alert(1)>.jpg: ")
    ask(page, a_file)
    answered(page)


@pytest.mark.parametrize(
    "caption",
    [
        "cat " * 25_000,
        "👩‍👩‍👧 🐕‍🦺 🏳️‍🌈",
        "כלב יושב ליד חתול \u202e drawkcab",
        "<script>alert(1)</script><img src=x onerror=alert(2)>",
        "\" onmouseover='alert(1)' {{7*7}} ${7*7}",
    ],
    ids=("100,000 characters", "emoji", "right to left", "markup", "quotes"),
)
def test_any_caption_is_text(open_page, a_file: Path, caption: str) -> None:
    page = open_page()
    ask(page, a_file, caption)
    answered(page)
    assert page.locator(".score-row").count() == 5


def test_markup_in_category_names_and_captions_is_shown_as_text(open_page, a_file: Path) -> None:
    page = open_page()
    ask(page, a_file, "a person")
    answered(page)
    shown = page.inner_text("#prediction")
    assert "<script>alert(2)</script>" in shown
    assert page.locator("#prediction script, #prediction img[onerror]").count() == 0


def test_a_file_that_is_too_large_is_not_sent(open_page, tmp_path: Path) -> None:
    source = (mmhash.page.document.ASSETS / "predict.js").read_text(encoding="utf-8")
    assert f"const UPLOAD_BYTES = {UPLOAD_BYTES};" in source
    with (tmp_path / "large.jpg").open("wb") as stream:
        stream.truncate(UPLOAD_BYTES + 1)
    page = open_page()
    page.route("**/predict", lambda route: pytest.fail("it was sent"))
    ask(page, tmp_path / "large.jpg")
    assert "at most 20 MB" in shown_error(page)


def test_a_server_that_has_ended_is_named(open_page, a_file: Path) -> None:
    page = open_page()
    page.route("**/predict", lambda route: route.abort())
    ask(page, a_file)
    assert "is mmhash serve still running?" in shown_error(page)


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 360), ("dark", 360)]
)
def test_it_fits_light_and_dark_and_a_telephone(
    open_page, a_file: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    ask(page, a_file, "a person")
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#predict").screenshot(path=tmp_path / "form.png")
    with Image.open(tmp_path / "form.png") as picture:
        corner = picture.convert("L").getpixel((1, 1))
    assert (corner < 60) == (scheme == "dark")


def test_another_page_can_neither_send_pictures_nor_show_this_one(
    browser: Browser, server: str, a_file: Path
) -> None:
    context = browser.new_context()
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.route("http://evil.example/", lambda route: route.fulfill(body="<p>evil</p>"))
    page.goto("http://evil.example/")
    refused = []
    page.on("response", lambda answer: refused.append((answer.url, answer.status)))
    told = page.evaluate(
        "async (server) => { const form = new FormData(); form.append('picture', new Blob(['x'])"
        ", 'a.jpg'); const sent = await fetch(server + 'predict', {method: 'POST', body: form, "
        "mode: 'no-cors'}).then((a) => a.type, (e) => 'failed'); const read = await fetch(server)"
        ".then((a) => a.text(), (e) => 'failed'); return [sent, read]; }",
        server,
    )
    assert told[1] == "failed"  # the page cannot be read
    assert told[0] in ("failed", "opaque")
    assert (f"{server}predict", 200) not in refused
    context.close()


def test_a_foreign_name_for_this_machine_is_refused(server: str) -> None:
    host, port = re.fullmatch(r"http://(.+):(\d+)/", server).groups()
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("GET", "/", headers={"Host": f"rebound.example:{port}"})
    answer = connection.getresponse()
    assert answer.status == 403
    assert set(json.loads(answer.read())) == {"error"}
    connection.close()
