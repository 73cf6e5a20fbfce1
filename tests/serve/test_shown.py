import os
from pathlib import Path

import pytest

from mmhash.page.document import SERVED, SERVED_MARK
from mmhash.serve import shown
from mmhash.serve.shown import PAGE, SHOWS, current_page

LATER = 4_000_000_000  # seconds; later than any file here


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose page says how often it was written."""
    for name in SHOWS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    count = 0

    def write_page(root: Path, out: Path) -> int:
        nonlocal count
        assert root == tmp_path
        count += 1
        out.parent.mkdir(exist_ok=True)
        out.write_text(f"connect-src 'none'; {SERVED_MARK} written {count}")
        os.utime(out, (LATER, LATER))
        return 1

    monkeypatch.setattr(shown, "write_page", write_page)
    return tmp_path


def test_the_page_is_written_once_and_shown_with_its_form(root: Path) -> None:
    page = current_page(root)
    assert SERVED in page
    assert 'content="on"' in page
    assert page == current_page(root)
    assert "written 1" in page
    assert 'content="off"' in (root / PAGE).read_text()  # the file on disk has no server to ask


@pytest.mark.parametrize("name", SHOWS)
def test_a_page_older_than_what_it_shows_is_written_anew(root: Path, name: str) -> None:
    current_page(root)
    os.utime(root / name, (LATER + 1, LATER + 1))
    assert "written 2" in current_page(root)


def test_a_page_older_than_the_code_is_written_anew(root: Path) -> None:
    current_page(root)
    os.utime(root / PAGE, (1, 1))
    assert "written 2" in current_page(root)


@pytest.mark.parametrize("content", [b"<html>another program's</html>", b"\xff\xfe", b""])
def test_a_file_that_is_no_page_of_ours_is_written_anew(root: Path, content: bytes) -> None:
    (root / PAGE).parent.mkdir()
    (root / PAGE).write_bytes(content)
    os.utime(root / PAGE, (LATER, LATER))
    assert "written 1" in current_page(root)
