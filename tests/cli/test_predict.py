import json
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import mmhash
from mmhash.changes import remove
from mmhash.cli.main import main
from mmhash.cli.predict import accuracy_line
from mmhash.collection import changing, open_collection, undo
from mmhash.data.coco import image_path
from mmhash.files import read_npy

Said = tuple[int, list[str], str]


@pytest.fixture
def said(
    trained_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """Run ``mmhash predict`` on the small run: exit code, lines on stdout, stderr."""
    monkeypatch.setenv("NO_COLOR", "1")

    def predict(*arguments: Path | str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(["predict", *map(str, arguments), "--run", str(trained_run)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(ended.value.code or 0), captured.out.splitlines(), captured.err

    return predict


@pytest.fixture(scope="module")
def row(trained_run: Path) -> dict[str, Any]:
    """A test picture with its captions."""
    found = pq.read_table(trained_run / "data/images.parquet").to_pylist()[0]
    return {
        **found,
        "path": image_path(trained_run / "pictures", found["folder"], found["file_name"]),
    }


def bomb(path: Path, side: int = 40_000) -> Path:
    """Write a black PNG of ``side`` × ``side`` pixels in a file of some kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    packer = zlib.compressobj(9)
    line = bytes(1 + side // 8)
    data = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


@pytest.fixture
def zoo(tmp_path: Path, row: dict[str, Any]) -> Path:
    """A folder of sound pictures and of files that only look so."""
    whole = row["path"].read_bytes()
    folder = tmp_path / "zoo"
    folder.mkdir()
    for name in ("good.jpg", "<script>alert(1)<.jpg", "שלום.jpg", "a\x1b[31m\nb.jpg"):
        (folder / name).write_bytes(whole)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_bytes(whole)
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    bomb(folder / "bomb.png")
    return folder


BAD = {"cut.jpg", "empty.jpg", "text.jpg", "bomb.png"}


def test_one_picture_shows_tags_marks_bars_and_voters(
    said: Callable[..., Said], row: dict[str, Any], trained_run: Path
) -> None:
    code, lines, err = said(row["path"], "--caption", row["captions"][0], "--top", "3")
    assert code == 0
    assert not err
    (made,) = mmhash.load(trained_run).predict([row["path"]], [row["captions"][0]], top_n=3)
    assert row["file_name"] in lines[0]
    assert lines[1].strip() == row["captions"][0]
    assert re.match(r"  with caption: test mAP \.\d{3}$", lines[2])
    for line, tag in zip(lines[3:6], made.tags, strict=True):
        assert tag.name in line
        assert f"{tag.score:.3f}".removeprefix("0") in line
        assert ("✓" in line) == tag.chosen
    assert lines[6].startswith("  neighbours that voted, the nearest 5 of ")
    voters = made.neighbours[:5]
    for first, voter in zip(lines[7::3], voters, strict=True):
        assert f"distance {voter.distance:.0f} of 16 bits" in first
        assert f"{100 * voter.share:.1f} % of the vote, image {voter.image_id}" in first
    assert "\x1b" not in "".join(lines)


def test_without_a_caption_the_accuracy_of_pictures_alone_is_stated(
    said: Callable[..., Said], row: dict[str, Any], trained_run: Path
) -> None:
    code, lines, _ = said(row["path"])
    assert code == 0
    figures = json.loads((trained_run / "metrics/eval.json").read_text())["test"]
    alone, paired = (
        f"{found['knn']['mAP']:.3f}".removeprefix("0") for found in (figures["image_only"], figures)
    )
    assert lines[1].startswith(f"  image only: test mAP {alone} (95 % ")
    assert lines[1].endswith(f", with caption {paired}")


def test_figures_of_the_database_as_built_say_so_once_it_has_changed(
    retrained: Callable[..., Path],
) -> None:
    folder = retrained({}, stages=())
    first = int(read_npy(folder / "index/image_id.npy")[0])
    with changing(folder):
        remove(open_collection(folder), [first], 1)
    for image_only in (False, True):
        line = accuracy_line(mmhash.load(folder), image_only)
        assert line.endswith("(before mmhash index changed the database)")
    undo(folder)
    assert "before" not in accuracy_line(mmhash.load(folder), True)


def test_json_says_what_the_python_call_says(
    said: Callable[..., Said], row: dict[str, Any], trained_run: Path
) -> None:
    code, lines, err = said(row["path"], "--json")
    assert code == 0
    assert "image only: test mAP" in err
    (made,) = mmhash.load(trained_run).predict([row["path"]])
    values = json.loads(lines[0])
    assert list(values) == ["file", "caption", "tags", "neighbours", "image_only"]
    assert values == {"file": str(row["path"]), "caption": None, **made.as_json()}


def test_a_folder_streams_and_bad_pictures_are_told_among_the_good(
    said: Callable[..., Said], zoo: Path
) -> None:
    code, lines, _ = said(zoo, "--json")
    assert code == 1
    found = [json.loads(line) for line in lines]
    assert [one["file"] for one in found] == sorted(str(file) for file in zoo.iterdir())
    assert {Path(one["file"]).name for one in found if "error" in one} == BAD
    for one in found:
        assert set(one) == {"file", "error"} or set(one) >= {"tags", "neighbours", "image_only"}
    code, lines, err = said(zoo)
    assert code == 1
    assert len(lines) == len(found)
    assert sum("cannot be read" in line for line in lines) == len(BAD)
    assert "\x1b" not in "".join(lines)
    assert "image only" in err


def test_a_bad_picture_alone_is_one_line_and_code_one(said: Callable[..., Said], zoo: Path) -> None:
    for name in BAD:
        code, lines, _ = said(zoo / name)
        assert code == 1
        assert len(lines) == 1
        assert "cannot be read" in lines[0]


@pytest.mark.parametrize(
    "caption",
    ["x" * 100_000, "\x1b[2J\x1b]0;title\x07 <script>alert(1)</script>", "😀 שלום \u202e evil"],
)
def test_no_caption_reaches_the_terminal_as_more_than_text(
    caption: str, said: Callable[..., Said], row: dict[str, Any]
) -> None:
    code, lines, _ = said(row["path"], "--caption", caption)
    assert code == 0
    shown = "".join(lines)
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert all(len(line) <= 200 for line in lines)
    code, lines, _ = said(row["path"], "--caption", caption, "--json")
    assert json.loads(lines[0])["caption"] == caption
    assert lines[0].isascii()


def test_captions_come_from_a_file_and_names_that_fit_nothing_are_told(
    said: Callable[..., Said], row: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(row["path"].read_bytes())
    captions = tmp_path / "captions.csv"
    captions.write_text("file,caption\na.jpg,a dog\nz.jpg,nothing\n")
    code, lines, err = said(folder, "--captions", captions, "--json")
    assert code == 0
    first, second = map(json.loads, lines)
    assert (first["caption"], first["image_only"]) == ("a dog", False)
    assert (second["caption"], second["image_only"]) == (None, True)
    assert "1 of its names are none of the pictures, such as z.jpg" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.jpg",), "absent.jpg: no such file or folder"),
        (("FOLDER",), "no picture"),
        (("PICTURE", "PICTURE", "--caption", "x"), "--caption is for one picture"),
        (("PICTURE", "--caption", "  "), "the caption is empty"),
        (("PICTURE", "--captions", "absent.csv"), "absent.csv: No such file"),
    ],
)
def test_faulty_input_is_one_line_and_code_one(
    arguments: tuple[str, ...],
    message: str,
    said: Callable[..., Said],
    row: dict[str, Any],
    tmp_path: Path,
) -> None:
    places = {"PICTURE": str(row["path"]), "FOLDER": str(tmp_path)}
    code, lines, err = said(*(places.get(word, word) for word in arguments))
    assert code == 1
    assert not lines
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


@pytest.mark.parametrize(
    "arguments",
    [("x.jpg", "--top", "0"), ("x.jpg", "--caption", "a", "--captions", "b"), ()],
)
def test_wrong_usage_is_code_two(arguments: tuple[str, ...], said: Callable[..., Said]) -> None:
    code, _, err = said(*arguments)
    assert code == 2
    assert "usage: mmhash predict" in err


def test_a_folder_without_a_run_is_one_line(
    row: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(row["path"]), "--run", str(tmp_path)])
    assert ended.value.code == 1
    assert "params.yaml: no such file" in capsys.readouterr().err


def start(arguments: list[str], run: Path) -> subprocess.Popen[str]:
    code = "from mmhash.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "predict", *arguments, "--run", str(run), "--json"],
        env=os.environ | {"PYTHONPATH": str(Path(mmhash.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_ctrl_c_leaves_whole_lines_and_code_130(
    row: dict[str, Any], trained_run: Path, retrained: Callable[..., Path]
) -> None:
    folder = retrained({"hardware": {"auto": {"num_workers": 2}}}, stages=())
    process = start([str(row["path"])] * 5000, folder)
    assert process.stdout is not None
    first = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    assert process.stderr is not None
    rest, err = process.stdout.read(), process.stderr.read()  # communicate would skip what is read
    assert process.wait(timeout=60) == 130, err
    assert "Traceback" not in err
    assert rest == "" or rest.endswith("\n")
    lines = [first, *rest.splitlines()]
    assert 0 < len(lines) < 5000
    assert all("tags" in json.loads(line) for line in lines)


def test_a_reader_that_has_seen_enough_ends_it_quietly(
    row: dict[str, Any], trained_run: Path
) -> None:
    process = start([str(row["path"])] * 500, trained_run)
    assert process.stdout is not None
    assert process.stderr is not None
    json.loads(process.stdout.readline())
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
