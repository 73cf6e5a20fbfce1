import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmhash.data import picture
from mmhash.data.picture import UnreadableError, read_picture


def noise(file: Path, exif: Image.Exif | None = None) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    Image.fromarray(values).save(file, exif=exif or Image.Exif())
    return file


def test_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    file = noise(tmp_path / "turned.jpg", exif)
    with Image.open(file) as stored:
        turned = stored.transpose(Image.Transpose.ROTATE_270)
    upright = read_picture(file)
    assert upright.size == (48, 80)
    assert np.array_equal(np.asarray(upright), np.asarray(turned))


def test_truncated_jpeg_is_unreadable(tmp_path: Path) -> None:
    whole = noise(tmp_path / "whole.jpg").read_bytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(UnreadableError, match="truncated"):
        read_picture(cut)


def test_missing_and_foreign_files_are_unreadable(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    with pytest.raises(UnreadableError, match="not a picture"):
        read_picture(text)
    with pytest.raises(UnreadableError, match="no such file"):
        read_picture(tmp_path / "absent.jpg")


@pytest.mark.parametrize("name", ["grey.png", "grey.tiff"])
def test_of_16_bits_the_upper_eight_are_kept(tmp_path: Path, name: str) -> None:
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / name)
    found = np.asarray(read_picture(tmp_path / name))
    np.testing.assert_array_equal(found, np.repeat((values >> 8)[..., None], 3, axis=2))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bits_without_a_stated_white_are_unreadable(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(np.ones((4, 4), dtype)).save(tmp_path / "wide.tiff")
    with pytest.raises(UnreadableError, match=r"^32 bits a pixel.*save it with 8 or 16$"):
        read_picture(tmp_path / "wide.tiff")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path):
        with pytest.raises(UnreadableError, match=r"^not a file$"):
            read_picture(path)


def test_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "MAX_PIXELS", 100 * 99)
    Image.new("RGB", (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UnreadableError, match="100 × 100 pixels"):
        read_picture(tmp_path / "bomb.png")


def test_real_bomb_header_is_refused(tmp_path: Path) -> None:
    # A PNG header may claim any size: here 60,000 × 60,000 in a file of a few bytes.
    Image.new("1", (8, 8)).save(tmp_path / "bomb.png")
    data = bytearray((tmp_path / "bomb.png").read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(UnreadableError, match="pixels"):
        read_picture(tmp_path / "bomb.png")
