"""What a terminal is shown: harmless text of a bounded width, score bars, small pictures."""

import os
import signal
import sys
import unicodedata
from pathlib import Path
from typing import TextIO

ZERO_WIDTH_JOINER = "\u200d"  # holds an emoji of several parts together
Rgb = tuple[int, int, int]
THUMBNAIL = (24, 16)  # pixels wide and high; a character shows two of them, one above the other


def harmless(text: str) -> str:
    """Return ``text`` without what could move the cursor, reorder the line or ring the bell.

    Line ends and tabs become spaces; other control characters (escape sequences begin with one),
    invisible format characters (they turn the direction of writing) and bytes that are no text
    become �.
    """
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in "\t\n\r\v\f\x85\u2028\u2029":
        return " "
    kind = unicodedata.category(character)
    if kind in ("Cc", "Cf", "Cs", "Zl", "Zp") and character != ZERO_WIDTH_JOINER:
        return "�"
    return character


def shortened(text: str, columns: int) -> str:
    """Return ``text`` made harmless, on at most ``columns`` columns; … says that more follows."""
    used = 0
    kept: list[str] = []
    for character in harmless(text[: 4 * columns + 4]):  # marks and joiners take no column
        width = _columns(character)
        if used + width > columns:
            while kept and used > columns - 1:
                used -= _columns(kept.pop())
            return "".join(kept) + "…"
        used += width
        kept.append(character)
    return "".join(kept) + ("…" if len(text) > 4 * columns + 4 else "")


def columns_of(text: str) -> int:
    """Return how many columns ``text`` takes: wide characters take two, marks none."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character == ZERO_WIDTH_JOINER:
        return 0
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def bar(share: float, columns: int) -> str:
    """Return a bar that fills ``share`` in [0, 1] of ``columns``.

    >>> bar(0.5, 4)
    '██░░'
    """
    filled = round(min(max(share, 0.0), 1.0) * columns)
    return "█" * filled + "░" * (columns - filled)


def colours(stream: TextIO) -> int:
    """Return how many colours ``stream`` can show: 0 (a file, a pipe, ``NO_COLOR``), 256 or 2²⁴."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return 0
    if not stream.isatty():
        return 0
    return 1 << 24 if os.environ.get("COLORTERM") in ("truecolor", "24bit") else 256


def thumbnail(picture: Path | None, shades: int) -> list[str]:
    """Return the lines of a small picture in half blocks, each ``THUMBNAIL[0]`` columns wide.

    No lines where there is no picture, it cannot be read, or the terminal shows no colours.
    """
    if picture is None or not shades:
        return []
    from mmhash.data.picture import UnreadableError, read_picture

    wide, high = THUMBNAIL
    try:
        small = read_picture(picture)
    except UnreadableError:
        return []
    small.thumbnail(THUMBNAIL)
    left, top = (wide - small.width) // 2, (high - small.height) // 2
    pixels: dict[tuple[int, int], Rgb] = {
        (left + x, top + y): small.getpixel((x, y))  # type: ignore[misc]
        for x in range(small.width)
        for y in range(small.height)
    }
    return [
        "".join(
            _half_block(pixels.get((x, y)), pixels.get((x, y + 1)), shades) for x in range(wide)
        )
        + "\x1b[0m"
        for y in range(0, high, 2)
    ]


def _half_block(upper: Rgb | None, lower: Rgb | None, shades: int) -> str:
    """Return a character whose upper and lower half have these colours; None leaves one empty."""
    if upper is None:
        return "\x1b[0m " if lower is None else f"\x1b[0m\x1b[38;{_colour(lower, shades)}m▄"
    if lower is None:
        return f"\x1b[0m\x1b[38;{_colour(upper, shades)}m▀"
    return f"\x1b[38;{_colour(upper, shades)};48;{_colour(lower, shades)}m▀"


def _colour(rgb: Rgb, shades: int) -> str:
    """Return the arguments of the escape sequence for a colour (r, g, b) of 0 to 255."""
    red, green, blue = rgb
    if shades > 256:
        return f"2;{red};{green};{blue}"
    step = [round(value / 51) for value in (red, green, blue)]  # a cube of 6 × 6 × 6
    return f"5;{16 + 36 * step[0] + 6 * step[1] + step[2]}"


def say(line: str) -> None:
    """Print a whole line on stdout at once; a progress bar on the same terminal moves below it.

    Ctrl-C waits for the end of the line: a write that it interrupts may lose the rest.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        if sys.stdout.isatty() and sys.stderr.isatty():
            from tqdm import tqdm  # half of the time that mmhash --help would take

            tqdm.write(line, file=sys.stdout)
        else:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
