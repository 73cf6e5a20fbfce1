"""Archives that are cut, changed or mean harm: one member comes out, or one line says why not."""

import random
import stat
import zipfile
from pathlib import Path

import pytest

from mmhash.data.archives import extract_member, unpack
from mmhash.errors import InputError

from .conftest import fails_with

BODY = random.Random(0).randbytes(300_000)


def zipped(path: Path, members: dict[str, bytes], **attributes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return path


def test_only_the_named_member_is_unpacked(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"split.json": BODY, "other": b"x", "../evil": b"x"})
    target = tmp_path / "inside" / "deep" / "out.json"
    extract_member(archive, "split.json", target, max_bytes=len(BODY))
    assert target.read_bytes() == BODY
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "a.zip",
        "out.json",
    ]


@pytest.mark.parametrize("member", ["../evil", "/evil", "a/../../evil", "..\\evil"])
def test_a_member_that_points_outside_is_refused(tmp_path, member):
    archive = zipped(tmp_path / "a.zip", {member: b"x"})
    fails_with(lambda: extract_member(archive, member, tmp_path / "out", 10), "outside")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_links_folders_and_absent_members_are_refused(tmp_path):
    link = zipped(
        tmp_path / "a.zip", {"link": b"/etc/hostname"}, external_attr=(stat.S_IFLNK | 0o777) << 16
    )
    fails_with(lambda: extract_member(link, "link", tmp_path / "out", 100), "link")
    folder = zipped(tmp_path / "b.zip", {"folder/": b""})
    fails_with(lambda: extract_member(folder, "folder/", tmp_path / "out", 100), "folder")
    fails_with(lambda: extract_member(folder, "split.json", tmp_path / "out", 100), "no 'split")
    fails_with(lambda: extract_member(tmp_path / "c.zip", "x", tmp_path / "out", 9), "no such file")
    assert not (tmp_path / "out").exists()


def test_an_encrypted_member_is_refused(tmp_path):
    data = bytearray(zipped(tmp_path / "a.zip", {"x": b"hello"}).read_bytes())
    for signature, flag in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + flag] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    fails_with(lambda: extract_member(tmp_path / "a.zip", "x", tmp_path / "o", 9), "encrypted")


def test_a_bomb_is_refused_by_its_size(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"x": bytes(1_000_000)})
    assert archive.stat().st_size < 2000
    fails_with(lambda: extract_member(archive, "x", tmp_path / "o", 999_999), "1,000,000 bytes")
    extract_member(archive, "x", tmp_path / "o", 1_000_000)


def test_a_bomb_that_lies_about_its_size_stops_at_the_lie(tmp_path):
    data = bytearray(zipped(tmp_path / "a.zip", {"x": bytes(1_000_000)}).read_bytes())
    for signature, position in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = data.index(signature) + position
        data[start : start + 4] = (1000).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    fails_with(lambda: extract_member(tmp_path / "a.zip", "x", tmp_path / "o", 1000), "damaged")
    assert not (tmp_path / "o").exists()


def test_an_archive_cut_anywhere_is_damaged_and_leaves_the_old_file(tmp_path):
    good = zipped(tmp_path / "a.zip", {"x": BODY[:3000]}).read_bytes()
    target = tmp_path / "out"
    target.write_bytes(b"old")
    broken = tmp_path / "b.zip"
    for length in range(0, len(good), 97):
        broken.write_bytes(good[:length])
        fails_with(lambda: extract_member(broken, "x", target, 3000), "damaged")
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "out"]


@pytest.mark.parametrize("flipped", [8, 255])
def test_an_archive_changed_anywhere_never_gives_other_bytes(tmp_path, flipped):
    content = b"to be or not to be, that is the question " * 3
    good = zipped(tmp_path / "a.zip", {"x": content}).read_bytes()
    target = tmp_path / "out"
    refused = 0
    for position in range(len(good)):
        data = bytearray(good)
        data[position] ^= flipped
        (tmp_path / "b.zip").write_bytes(data)
        try:
            extract_member(tmp_path / "b.zip", "x", target, 1000)
        except InputError:
            refused += 1
        else:  # a date, an attribute or a comment was hit
            assert target.read_bytes() == content
    assert refused > len(good) / 3


PICTURES = {f"train/{number}.jpg": BODY[number : 2000 + 7 * number] for number in range(20)}
EXTRA = {
    "train/": b"",
    "train/deep/x.jpg": b"x",
    "../evil": b"x",
    "/train/y": b"x",
    "other/z": b"x",
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def holds_the_pictures(folder: Path) -> None:
    assert {f"train/{path.name}": path.read_bytes() for path in folder.iterdir()} == PICTURES


def test_files_directly_below_a_folder_are_unpacked_and_nothing_else(tmp_path):
    archive = zipped(tmp_path / "a.zip", PICTURES | EXTRA)
    unpack(archive, "train", tmp_path / "images" / "train", 10**6)
    holds_the_pictures(tmp_path / "images" / "train")
    assert names(tmp_path) == ["a.zip", "images"]
    assert names(tmp_path / "images") == ["train"]


def test_what_is_there_already_is_kept(tmp_path):
    archive = zipped(tmp_path / "a.zip", PICTURES)
    target = tmp_path / "train"
    target.mkdir()
    (target / "3.jpg").write_bytes(b"mine")
    unpack(archive, "train", target, 10**6)
    assert (target / "3.jpg").read_bytes() == b"mine"
    assert len(names(target)) == len(PICTURES)
    assert names(tmp_path) == ["a.zip", "train"]


def test_only_the_files_asked_for(tmp_path):
    archive = zipped(tmp_path / "a.zip", PICTURES)
    unpack(archive, "train", tmp_path / "train", 10**4, only=["1.jpg", "4.jpg"])
    assert names(tmp_path / "train") == ["1.jpg", "4.jpg"]
    fails_with(lambda: unpack(archive, "train", tmp_path / "b", 10**6, only=["99.jpg"]), "99.jpg")
    fails_with(lambda: unpack(archive, "val", tmp_path / "b", 10**6), "files in val")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("kept", [0, 1, 7, 19])
def test_an_interrupted_unpacking_goes_on(tmp_path, monkeypatch, kept):
    archive = zipped(tmp_path / "a.zip", PICTURES)
    target = tmp_path / "train"
    opens = zipfile.ZipFile.open
    seen = []

    def stops(self, info, *rest, **named):
        seen.append(info.filename)
        if len(seen) > kept:
            raise KeyboardInterrupt
        return opens(self, info, *rest, **named)

    monkeypatch.setattr(zipfile.ZipFile, "open", stops)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, "train", target, 10**6)
    assert not target.exists()

    work = tmp_path / ".train.unpacking"
    (work / ".5.half.jpg").write_bytes(b"ha")  # as after a kill
    if kept > 1:
        (work / "0.jpg").write_bytes(BODY[: len(PICTURES["train/0.jpg"])][::-1])  # a bad disk
    seen.clear()

    def counts(self, info, *rest, **named):
        seen.append(info.filename)
        return opens(self, info, *rest, **named)

    monkeypatch.setattr(zipfile.ZipFile, "open", counts)
    unpack(archive, "train", target, 10**6)
    holds_the_pictures(target)
    assert len(seen) == len(PICTURES) - kept + (kept > 1)
    assert names(tmp_path) == ["a.zip", "train"]


def test_a_hostile_folder_is_refused_before_the_first_file(tmp_path):
    target = tmp_path / "train"
    link = zipped(tmp_path / "l.zip", PICTURES, external_attr=(stat.S_IFLNK | 0o777) << 16)
    fails_with(lambda: unpack(link, "train", target, 10**6), "link")
    bomb = zipped(tmp_path / "b.zip", {f"train/{n}": bytes(100_000) for n in range(11)})
    fails_with(lambda: unpack(bomb, "train", target, 10**6), "1,100,000 bytes", "1,000,000")
    twice = tmp_path / "t.zip"
    with zipfile.ZipFile(twice, "w") as stream:
        stream.writestr("train/a", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            stream.writestr("train/a", "2")
    fails_with(lambda: unpack(twice, "train", target, 10**6), "twice")
    assert names(tmp_path) == ["b.zip", "l.zip", "t.zip"]


def test_a_folder_in_a_damaged_archive_never_appears(tmp_path):
    good = zipped(tmp_path / "a.zip", PICTURES).read_bytes()
    data = bytearray(good)
    data[len(good) // 2] ^= 255
    (tmp_path / "a.zip").write_bytes(data)
    fails_with(lambda: unpack(tmp_path / "a.zip", "train", tmp_path / "train", 10**6), "damaged")
    assert not (tmp_path / "train").exists()
    (tmp_path / "a.zip").write_bytes(good)
    unpack(tmp_path / "a.zip", "train", tmp_path / "train", 10**6)
    holds_the_pictures(tmp_path / "train")
