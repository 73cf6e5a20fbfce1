import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmhash.cli.terminal import (
    THUMBNAIL,
    bar,
    colours,
    columns_of,
    harmless,
    shortened,
    thumbnail,
)

any_text = st.text(st.characters(exclude_categories=()))


@given(any_text)
def test_nothing_that_moves_the_cursor_or_turns_the_line_is_shown(text: str) -> None:
    for character in harmless(text):
        kind = unicodedata.category(character)
        assert kind not in ("Cc", "Cs", "Zl", "Zp")
        assert kind != "Cf" or character == "\u200d"


@given(any_text, st.integers(2, 60))
def test_a_shortened_text_fits_and_says_that_more_follows(text: str, columns: int) -> None:
    found = shortened(text, columns)
    assert columns_of(found) <= columns
    assert found == harmless(text) or found.endswith("…")


def test_plain_text_wide_letters_and_emoji_stay() -> None:
    for text in ("a cat, on a sofa", "一只猫", "שלום עולם", "👩\u200d🚀 in space", "café"):
        assert shortened(text, 40) == text
    assert shortened("一只猫", 5) == "一只…"
    assert harmless("a\nb\tc\x1b[2Jd\u202ee\udcff") == "a b c�[2Jd�e�"


@given(st.floats(-1, 2), st.integers(1, 40))
def test_a_bar_has_its_length(share: float, columns: int) -> None:
    assert len(bar(share, columns)) == columns


class Terminal:
    def isatty(self) -> bool:
        return True


def test_colours_follow_the_terminal_and_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal: object = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    assert colours(terminal) == 1 << 24  # type: ignore[arg-type]
    monkeypatch.delenv("COLORTERM")
    assert colours(terminal) == 256  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert colours(terminal) == 0  # type: ignore[arg-type]
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert colours(terminal) == 0  # type: ignore[arg-type]
    with Path("/dev/null").open("w") as stream:
        assert colours(stream) == 0


@pytest.mark.parametrize("size", [(200, 100), (100, 300), (1, 1), (24, 16)])
@pytest.mark.parametrize("shades", [256, 1 << 24])
def test_a_thumbnail_shows_the_colours_and_resets_them(
    size: tuple[int, int], shades: int, tmp_path: Path
) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", size, (255, 0, 0)).save(path)
    lines = thumbnail(path, shades)
    assert len(lines) == THUMBNAIL[1] // 2
    assert all(line.endswith("\x1b[0m") for line in lines)
    assert any(("255;0;0" if shades > 256 else "5;196") in line for line in lines)
    for line in lines:
        shown = line
        while "\x1b" in shown:
            start = shown.index("\x1b")
            shown = shown[:start] + shown[shown.index("m", start) + 1 :]
        assert len(shown) == THUMBNAIL[0]
        assert set(shown) <= set("▀▄ ")


def test_no_thumbnail_without_colours_or_picture(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    assert thumbnail(text, 256) == []
    assert thumbnail(None, 256) == []
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert thumbnail(tmp_path / "a.png", 0) == []
