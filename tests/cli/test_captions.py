import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhash.cli.captions import captions_for, find_pictures, read_captions
from mmhash.errors import InputError


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_a_folder_gives_its_pictures_sorted_without_hidden_and_other_files(tmp_path: Path) -> None:
    write(tmp_path, "b.JPG", "a/z.png", "a/notes.txt", ".hidden/c.jpg", ".d.jpg", "c.webp")
    found = find_pictures([str(tmp_path)])
    assert [one.path.relative_to(tmp_path).as_posix() for one in found] == [
        *("a/z.png", "b.JPG", "c.webp")
    ]
    named = find_pictures([str(tmp_path / "a/notes.txt"), str(tmp_path / "a")])
    assert [one.path.name for one in named] == ["notes.txt", "z.png"]


def test_nothing_to_tag_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture"):
        find_pictures([str(tmp_path)])
    with pytest.raises(InputError, match="no such file or folder"):
        find_pictures(["absent.jpg", "absent too.jpg"])
    write(tmp_path, "a.jpg")
    assert len(find_pictures([str(tmp_path / "a.jpg"), "absent.jpg"])) == 2


def test_names_that_could_mean_anything_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an empty name is no picture"):
        find_pictures([""])
    long = "a" * 5000
    with pytest.raises(InputError, match="no such file or folder"):
        find_pictures([long])
    write(tmp_path, "a.jpg")
    named = find_pictures([str(tmp_path / "a.jpg"), long])  # told with the others, when it is read
    assert [one.path.name for one in named] == ["a.jpg", long]


@pytest.mark.parametrize("named", ["pipe.jpg", ""])
def test_a_pipe_is_refused_for_it_may_never_end(named: str, tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match=r"pipe\.jpg: is a pipe or a device; name a file"):
        find_pictures([str(tmp_path / named)])


def test_a_caption_may_hold_whatever_is_a_line_end_to_some(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text(
        "file,caption\na.jpg,a\u2028cat\x85on\x0ba\x1csofa\nb.jpg,x\n", encoding="utf-8"
    )
    assert read_captions(path) == {"a.jpg": "a\u2028cat\x85on\x0ba\x1csofa", "b.jpg": "x"}


def test_a_caption_of_a_table_may_be_as_long_as_one_of_a_list_to_add(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("file,caption\na.jpg," + "word " * 40_000, encoding="utf-8")
    assert len(read_captions(path)["a.jpg"]) == 200_000


@given(
    captions=st.dictionaries(
        st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
        st.text(st.characters(exclude_categories=("Cs",))).map(lambda text: f"a{text}"),
    )
)
def test_json_comes_back_as_it_was_written(
    captions: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("captions") / "c.json"
    path.write_text(json.dumps(captions), encoding="utf-8")
    assert read_captions(path) == captions


def test_tables_may_have_quotes_tabs_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text('\ufefffile,caption\r\na.jpg,"a cat, asleep\non a sofa"\r\n\r\nb.jpg,x\r\n')
    assert read_captions(path) == {"a.jpg": "a cat, asleep\non a sofa", "b.jpg": "x"}
    tabs = tmp_path / "c.tsv"
    tabs.write_text("file\tcaption\na.jpg\ta cat, asleep\n")
    assert read_captions(tabs) == {"a.jpg": "a cat, asleep"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", b"file,caption\na.jpg,caf\xe9\n", "byte 22 is no UTF-8"),
        ("c.csv", b"name,text\na.jpg,b\n", "line 1 must be the header file,caption"),
        ("c.csv", b"", "line 1 must be the header"),
        ("c.csv", b"file,caption\na.jpg,b, c\n", "line 2: 3 columns"),
        ("c.csv", b"file,caption\na.jpg, \n", "line 2: 'a.jpg' has no caption"),
        ("c.csv", b"file,caption\na.jpg,b\nc.jpg,d\na.jpg,e\n", r"line 4: .* already \(line 2\)"),
        ("c.csv", b'file,caption\na.jpg,"b\n', "line 2: unexpected end"),
        ("c.csv", b"file,caption\na.jpg," + b"x" * 10_000_001, "line 2: field larger"),
        ("c.tsv", b"file\tcaption\na.jpg\tb\tc\n", "keep one tab"),
        ("c.json", b"{", "not valid JSON"),
        ("c.json", b"[" * 100_000, "not valid JSON"),
        ("c.json", b"[1]", "must be one object"),
        ("c.json", b'{"a.jpg": ' + b"1" * 5000 + b"}", "not valid JSON"),
        ("c.json", b'{"a.jpg": 3}', "'a.jpg' has no caption"),
        ("c.json", b'{"a.jpg": "b", "a.jpg": "c"}', "'a.jpg' stands twice"),
    ],
)
def test_a_faulty_file_is_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        read_captions(path)
    assert name in str(raised.value)
    with pytest.raises(InputError, match="No such file"):
        read_captions(tmp_path / "absent.csv")


def test_a_picture_may_be_named_by_its_path_or_its_name(tmp_path: Path) -> None:
    write(tmp_path, "one/a.jpg", "one/sub/b.jpg", "two/c.jpg")
    pictures = find_pictures([str(tmp_path / "one"), str(tmp_path / "two/c.jpg")])
    found, unknown = captions_for(
        pictures, {"a.jpg": "1", str(tmp_path / "one/sub/b.jpg"): "2", "c.jpg": "3", "d.jpg": "4"}
    )
    assert found == ["1", "2", "3"]
    assert unknown == ["d.jpg"]
    assert captions_for(pictures, {"sub/b.jpg": "2"})[0] == [None, "2", None]


def test_a_name_of_two_pictures_and_two_captions_of_one_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "one/a.jpg", "two/a.jpg")
    pictures = find_pictures([str(tmp_path / "one"), str(tmp_path / "two")])
    with pytest.raises(InputError, match=r"'a\.jpg' means 2 of the pictures"):
        captions_for(pictures, {"a.jpg": "1"})
    twice = {str(tmp_path / "one/a.jpg"): "1", "a.jpg": "2"}
    with pytest.raises(InputError, match="has two"):
        captions_for(pictures[:1], twice)
