"""What a user wants to add, before a model sees it."""

import contextlib
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmhash.additions import (
    addition,
    category_named,
    checked_pictures,
    match_labels,
    read_list,
    unknown_category,
)
from mmhash.errors import InputError
from mmhash.files import write_table

CATEGORIES = [{"id": 1, "name": "dog"}, {"id": 7, "name": "Fire Hydrant"}, {"id": 9, "name": "été"}]


def wanted(labels: str, caption: str | None = None) -> list:
    return [addition(Path("a.jpg"), labels, caption, "a.jpg")]


def write_list(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_names_files_beside_it(tmp_path: Path) -> None:
    text = '\ufefflabels, file,caption\ndog; fire hydrant ,a/b.jpg,"one, two\nthree"\ndog,c.png,\n'
    first, second = read_list(write_list(tmp_path, text))
    assert first.path == tmp_path / "a/b.jpg"
    assert first.labels == ("dog", "fire hydrant")
    assert first.caption == "one, two three"
    assert second.caption is None
    assert second.where.endswith("list.csv line 4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line names the columns"),
        ("file,label\n", "first line names the columns file, label; it must name file, labels"),
        ("file,labels,captions\n", "it must name file, labels"),
        ("file,labels,labels,caption\n", "it must name file, labels"),
        ("file,labels\na.jpg,dog,more\n", "line 2: more or fewer cells than columns"),
        ("file,labels\na.jpg\n", "line 2: more or fewer cells than columns"),
        ("file,labels\n ,dog\n", "line 2: no file is named"),
        ("file,labels\na.jpg, ;\n", "line 2: no label"),
        ('file,labels\n"a.jpg,dog\n', "not a CSV file in UTF-8"),
        ("file,labels\na.jpg,do\x1b[2Jg\n", "line 2: 'do\\\\x1b"),
    ],
)
def test_a_wrong_list_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_list(write_list(tmp_path, text))


def test_a_list_that_is_no_text_or_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_list(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(b"file,labels\n\xff\xd8\xff\xe0,dog\n")
    with pytest.raises(InputError, match="not a CSV file in UTF-8"):
        read_list(tmp_path / "picture.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_list(tmp_path)


def test_a_caption_of_100000_letters_is_a_caption(tmp_path: Path) -> None:
    (found,) = read_list(write_list(tmp_path, f"file,labels,caption\na.jpg,dog,{'é ' * 50_000}\n"))
    assert found.caption is not None
    assert len(found.caption) == 99_999


@pytest.mark.parametrize("name", ["loop.jpg", "zero\0.jpg", "pipe.jpg"])
def test_what_is_no_file_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match=r"is no name of a file|is a pipe or a device") as raised:
        addition(tmp_path / name, "dog", None, "list.csv line 2")
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "🦒", "זברה", "👩‍🚀", "a" * 100])
def test_any_name_that_can_be_written_is_a_category(name: str) -> None:
    assert match_labels(wanted(name), CATEGORIES, new=True) == ([[name]], [name])


@pytest.mark.parametrize(
    "name", ["a\x00b", "a\x1b[31mb", "a\u202eb", "a\u2066b", "\udcff", "a" * 101, "a\x7f"]
)
def test_a_name_of_control_characters_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no name for a category") as raised:
        wanted(name)
    assert str(raised.value).isprintable()


def test_line_ends_are_blanks_and_other_control_characters_no_caption() -> None:
    assert wanted("hot\ndog", "a\ncat\u2028b")[0].labels == ("hot dog",)
    assert wanted("dog", " \n")[0].caption is None
    with pytest.raises(InputError, match="caption holds control characters"):
        wanted("dog", "a\x1b[2J")


def test_names_match_without_regard_to_capitals_and_form() -> None:
    found, new = match_labels(wanted("DOG; fire  hydrant;e\u0301te\u0301;dog"), CATEGORIES, False)
    assert (found, new) == ([["dog", "Fire Hydrant", "été"]], [])
    assert category_named(" DOG ", CATEGORIES) == "dog"
    assert category_named("cat", CATEGORIES) is None


def test_an_unknown_name_is_refused_with_the_closest_and_the_way_to_add_it() -> None:
    with pytest.raises(InputError) as raised:
        match_labels(wanted("dgo; okapi"), CATEGORIES, False)
    assert str(raised.value) == (
        "unknown categories 'dgo' (did you mean dog?) in a.jpg, 'okapi' in a.jpg; "
        "--new-categories adds what is new"
    )
    assert unknown_category("x", CATEGORIES) == "'x'"


def test_a_new_name_that_stands_in_two_spellings_is_one_category() -> None:
    items = [*wanted("Okapi;dog"), *wanted("okapi;quokka")]
    assert match_labels(items, CATEGORIES, new=True) == (
        [["Okapi", "dog"], ["Okapi", "quokka"]],
        ["Okapi", "quokka"],
    )


@given(st.text(max_size=40))
def test_any_text_is_trimmed_names_or_one_line(text: str) -> None:
    items = []
    with contextlib.suppress(InputError):
        items = wanted(text, text)
    for name in [name for item in items for name in item.labels]:
        assert name
        assert name == name.strip()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(3):
        Image.new("RGB", (400, 200), (50 * number, 0, 0)).save(tmp_path / f"{number}.jpg")
    (tmp_path / "raw/images/train2014").mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(tmp_path / "raw/images/train2014/own.jpg")
    table = {"image_id": [5], "folder": ["train2014"], "file_name": ["own.jpg"]}
    write_table(tmp_path / "images.parquet", pa.table(table))
    return tmp_path


def check(
    folder: Path,
    names: list[str],
    known: dict[str, int] | None = None,
    present: frozenset[int] = frozenset({5}),
) -> list[str]:
    items = [addition(folder / name, "dog", None, name) for name in names]
    return checked_pictures(
        items,
        known or {},
        present,
        folder / "images.parquet",
        folder / "raw",
        lambda checksum: folder / "small" / f"{checksum}.jpg",
    )


def test_small_copies_are_written(pictures: Path) -> None:
    checksums = check(pictures, ["0.jpg", "1.jpg"])
    for checksum in checksums:
        with Image.open(pictures / "small" / f"{checksum}.jpg") as image:
            assert image.size == (320, 160)


def test_all_pictures_that_cannot_be_read_are_named_in_one_line(pictures: Path) -> None:
    (pictures / "text.jpg").write_text("no picture")
    (pictures / "cut.jpg").write_bytes((pictures / "0.jpg").read_bytes()[:600])
    with pytest.raises(InputError) as raised:
        check(pictures, ["0.jpg", "text.jpg", "cut.jpg", "none.jpg", "raw"])
    said = str(raised.value)
    assert said.startswith("4 pictures cannot be read: ")
    for name in ("text.jpg", "cut.jpg", "none.jpg (no such file)", "raw"):
        assert name in said
    assert said.endswith("nothing is added")
    assert "0.jpg (" not in said


def test_the_same_picture_twice_is_refused_wherever_it_stands(pictures: Path) -> None:
    copy = pictures / "copy.jpg"
    copy.write_bytes((pictures / "0.jpg").read_bytes())
    with pytest.raises(InputError, match=r"1 picture would stand twice: \S*copy.jpg is \S*0.jpg;"):
        check(pictures, ["0.jpg", "copy.jpg"])
    (checksum,) = check(pictures, ["0.jpg"])
    with pytest.raises(InputError, match=r"copy.jpg is image 77;"):
        check(pictures, ["copy.jpg"], {checksum: 77})
    own = pictures / "raw/images/train2014/own.jpg"
    with pytest.raises(InputError, match=r"own.jpg is image 5 of the data set;"):
        check(pictures, ["raw/images/train2014/own.jpg"])
    (pictures / "own.jpg").write_bytes(own.read_bytes())
    with pytest.raises(InputError, match=r"own.jpg is image 5 of the data set;"):
        check(pictures, ["own.jpg"])
    # one of the test split, or one that was taken out of the database, to be labelled anew
    assert len(check(pictures, ["own.jpg"], present=frozenset())) == 1
    Image.new("RGB", (9, 9)).save(pictures / "own.jpg")  # another of that name is another
    assert len(check(pictures, ["own.jpg"])) == 1
