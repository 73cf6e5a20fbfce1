"""A run that answers at once, and pictures to send to it."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmhash.data.picture import UnreadableError, read_picture
from mmhash.prediction import Prediction, Tag, Voter

MARKUP = "<script>alert(1)</script>"


def picture_bytes(kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture file of noise."""
    pixels = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, kind)
    return held.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A whole PNG file of black pixels, a thousandth of the memory that they would fill."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)  # one bit a pixel
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, content)
        for name, content in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )


class StandIn:
    """Answers as :class:`mmhash.trained.TrainedRun` does, by what the pictures' sizes are."""

    def __init__(self, root: Path, neighbours: int = 3) -> None:
        self.root = root
        self.neighbours = neighbours
        self.database = SimpleNamespace(version=0)
        self.captions: list[str | None] = []
        root.mkdir(parents=True, exist_ok=True)
        (root / "near.png").write_bytes(picture_bytes(size=(400, 300)))

    def stream(self, images: list[bytes], captions: list[str | None]) -> Iterator[Prediction | str]:
        self.captions += captions
        for image, caption in zip(images, captions, strict=True):
            try:
                size = read_picture(io.BytesIO(image)).size
            except UnreadableError as error:
                yield str(error)
                continue
            tags = [Tag(f"{size[0]} wide", 0.75, True, 0.5), Tag(MARKUP, 0.25, False, 0.5)]
            near = [
                Voter(7 + n, 2.0, 0.5, MARKUP + "x" * 500, [MARKUP], self.root / "near.png")
                for n in range(self.neighbours)
            ]
            yield Prediction(tags, near, caption is None)

    def accuracy(self, image_only: bool) -> dict[str, float]:
        return {"mAP": 0.3 if image_only else 0.4, "mAP_low": 0.2, "mAP_high": 0.5}


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """A run whose folder is ``tmp_path / "run"``."""
    return StandIn(tmp_path / "run")


@pytest.fixture
def make_stand_in(tmp_path: Path) -> Any:
    """Make such a run with other arguments."""
    return lambda **kwargs: StandIn(tmp_path / "other", **kwargs)


@pytest.fixture
def a_picture() -> bytes:
    """A PNG file, 40 × 30."""
    return picture_bytes()


@pytest.fixture(scope="session")
def hostile_pictures() -> dict[str, tuple[bytes, str]]:
    """Files that are no pictures to decode: content, and a part of the line that says so."""
    jpeg = picture_bytes("JPEG", (200, 150))
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script></svg>'
    )
    return {
        "bomb.png": (png_that_claims(40_000, 40_000), "pixels"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "text.jpg": (b"this is no picture\n" * 50, "not a picture"),
        "empty.jpg": (b"", "the file is empty"),
        "drawing.svg": (svg, "not a picture"),
        "postscript.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    }
