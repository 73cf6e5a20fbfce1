"""Pictures for the README: docs/images/report-*.png, serve-*.png, predict.png, under 200 kB each.

Run ``mmhash report`` on the sample first, then ``python scripts/readme_pictures.py``. Those of
``mmhash serve`` and ``mmhash predict`` show a test picture with its own caption; the latter is what
a terminal with colours gets, drawn by the browser. Needs Chromium and the packages of
requirements-test.txt.
"""

import html
import io
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

PAGE = Path("reports/index.html")
OUT = Path("docs/images")
MOST_BYTES = 200_000
COLOURS = 128  # of the palette; screenshots of text and charts have few
DESKTOP, TALL, PHONE = (1080, 760), (1080, 960), (390, 780)
ASKED = Path("data/sample/raw/images/val2014/COCO_val2014_000000013483.jpg")  # of the test split
CAPTION = "two traffic signals standing above a car"

TAGGED = Path("data/sample/raw/images/val2014/COCO_val2014_000000011130.jpg")  # of test, too
TAGGED_CAPTION = "A giraffe in front of an elephant on the savanna"


def overview(page: Page) -> None:
    """The top of the page."""


def classes(page: Page) -> None:
    """The table of classes, weakest first, above the curves."""
    page.locator("#classes thead th button").filter(has_text="F1").click()
    page.evaluate("document.querySelector('#classes').scrollIntoView()")


def neighbours(page: Page) -> None:
    """A picture with a train, and who voted for it."""
    page.fill("#picture-search", "train")
    page.evaluate("document.querySelector('#query').scrollIntoView()")


def mistakes(page: Page) -> None:
    """The worst mistakes of a class."""
    page.evaluate("document.querySelector('#mistakes').scrollIntoView()")


def bits(page: Page) -> None:
    """What a bit answers to."""
    page.evaluate("document.querySelector('#bits').scrollIntoView()")


def form(page: Page) -> None:
    """The answer to a picture with its caption."""
    page.set_input_files("#predict-form input[name=picture]", ASKED)
    page.fill("#predict-form input[name=caption]", CAPTION)
    page.click("#predict-form button[type=submit]")
    page.wait_for_selector("#prediction .card")
    page.evaluate("document.querySelector('#predict').scrollIntoView()")


def image_only(page: Page) -> None:
    """The answer to a picture alone."""
    page.set_input_files("#predict-form input[name=picture]", ASKED)
    page.click("#predict-form button[type=submit]")
    page.wait_for_selector("#prediction .card")
    page.evaluate("document.querySelector('#predict').scrollIntoView()")


# Name → what to show, the window, and light or dark.
SHOTS: dict[str, tuple[Callable[[Page], None], tuple[int, int], str]] = {
    "report-overview": (overview, DESKTOP, "light"),
    "report-classes": (classes, DESKTOP, "light"),
    "report-neighbours": (neighbours, TALL, "light"),
    "report-mistakes": (mistakes, DESKTOP, "light"),
    "report-bits": (bits, DESKTOP, "dark"),
    "report-phone": (neighbours, PHONE, "light"),
    "serve-form": (form, (1080, 1130), "light"),
    "serve-image-only": (image_only, (390, 1090), "dark"),
}


def main() -> None:
    """Write the pictures; exit with one line where the page or the browser is missing."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("Chromium is not installed")
    if not PAGE.is_file():
        sys.exit(f"{PAGE}: no such file; run mmhash report first")
    OUT.mkdir(parents=True, exist_ok=True)
    with served() as address, sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name, (show, (width, height), scheme) in SHOTS.items():
            from_disk = not name.startswith("serve-")
            context = started.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                reduced_motion="reduce",
                offline=from_disk,
            )
            page = context.new_page()
            page.goto(PAGE.resolve().as_uri() if from_disk else address)
            page.wait_for_selector("body[data-state=ready]")
            show(page)
            page.wait_for_timeout(1500)  # charts and pictures in view
            size = save(page.screenshot(), OUT / f"{name}.png")
            print(f"{OUT / name}.png: {size / 1e3:.0f} kB")
            context.close()
        print(f"{OUT / 'predict.png'}: {predicted(started) / 1e3:.0f} kB")
        started.close()


@contextmanager
def served() -> Iterator[str]:
    """Run ``mmhash serve`` and yield its address."""
    code = "from mmhash.cli.main import main; main(['serve', '--port', '0'])"
    command = [sys.executable, "-c", code]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        if not line:
            sys.exit("mmhash serve did not start")
        yield line.split()[0]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def predicted(browser: Browser) -> int:
    """Draw what ``mmhash predict`` shows in a terminal with colours; return the bytes."""
    code = "import sys; from mmhash.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "predict", str(TAGGED), "--caption", TAGGED_CAPTION]
    outer, inner = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "90"}
    environment.pop("NO_COLOR", None)
    asked = subprocess.Popen(  # noqa: S603
        command, stdout=inner, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(inner)
    written = b""
    try:
        while part := os.read(outer, 1 << 16):
            written += part
    except OSError:  # the other end is closed and all is read
        pass
    os.close(outer)
    if asked.wait():
        sys.exit("mmhash predict failed")
    page = browser.new_page(viewport={"width": 720, "height": 400})
    style = (
        "body { margin: 0 } pre { display: inline-block; margin: 0; padding: 12px; "
        "background: #1b1e26; color: #d8dbe2; font: 13px/15px DejaVu Sans Mono }"
    )
    page.set_content(f"<style>{style}</style><pre>{coloured(written.decode())}")
    return save(page.locator("pre").screenshot(), OUT / "predict.png")


def coloured(text: str) -> str:
    """Return HTML for ``text`` with escape sequences of 24-bit colours."""
    shown, front, back = [], "", ""
    for codes, plain in re.findall("\x1b\\[([0-9;]*)m|([^\x1b]+)", text.replace("\r", "")):
        if plain:
            colours = f"color: {front or 'inherit'}; background: {back or 'none'}"
            shown.append(f'<span style="{colours}">{html.escape(plain)}</span>')
        elif codes in ("", "0"):
            front = back = ""
        for ground, red, green, blue in re.findall("([34]8);2;([0-9]+);([0-9]+);([0-9]+)", codes):
            colour = f"rgb({red} {green} {blue})"
            front, back = (colour, back) if ground == "38" else (front, colour)
    return "".join(shown)


def save(screenshot: bytes, path: Path) -> int:
    """Write a screenshot with a palette and return its size in bytes."""
    with Image.open(io.BytesIO(screenshot)) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    size = path.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{path}: {size:,} bytes, over {MOST_BYTES:,}; take fewer colours")
    return size


if __name__ == "__main__":
    main()
