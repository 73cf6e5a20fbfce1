"""A COCO folder of a few images that tests can spoil, and what tests of the data share."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mmhash.errors import InputError

# image id → (folder, category of each instance, captions); 7 has a crowd only, 9 no label.
IMAGES: dict[int, tuple[str, list[int], list[str]]] = {
    9: ("train2014", [], ["an empty road", "A road. "]),
    4: ("train2014", [18, 1, 18], ["a man and two dogs", "dogs"]),
    7: ("val2014", [90], ["a crowd", "people ", "many people here"]),
    30: ("val2014", [1], ["someone", "a person"]),
    12: ("val2014", [1, 90], ["a person brushes", "teeth"]),
}
CATEGORIES = [
    {"id": 90, "name": "toothbrush"},
    {"id": 1, "name": "person"},
    {"id": 18, "name": "dog"},
]
SPLITS = {9: "train", 4: "train", 7: "restval", 30: "val", 12: "test"}


def fails_with(call: Callable[[], object], *words: str) -> None:
    """Expect an InputError of one line that holds ``words``."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@contextmanager
def answering(reply: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Let a local server answer every GET with ``reply``; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, body: bytes, upto: int | None = None) -> None:
    """Send ``body``, or the range asked for, but only the first ``upto`` bytes of it."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
    start = int(asked[1]) if asked else 0
    if start >= len(body) and asked:
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(body)}")
        handler.end_headers()
        return
    handler.send_response(206 if asked else 200)
    if asked:
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    handler.send_header("Content-Length", str(len(body) - start))
    handler.end_headers()
    handler.wfile.write(body[start:][:upto])


@dataclass
class CocoFolder:
    """``files`` maps a path below ``root`` to its JSON content; spoil it, then ``write`` it."""

    root: Path
    files: dict[str, Any]
    pictures: list[str]

    def write(self) -> Path:
        for name, content in self.files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        for name in self.pictures:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"picture")
        return self.root


def file_name(image_id: int) -> str:
    return f"COCO_{IMAGES[image_id][0]}_{image_id:012d}.jpg"


@pytest.fixture
def coco(tmp_path: Path) -> CocoFolder:
    files: dict[str, Any] = {
        "dataset_coco.json": {
            "dataset": "coco",
            "images": [
                {
                    "filepath": folder,
                    "filename": file_name(image_id),
                    "cocoid": image_id,
                    "imgid": number,
                    "split": SPLITS[image_id],
                    "sentids": [1],
                    "sentences": [{"raw": "x", "tokens": ["x"]}],
                }
                for number, (image_id, (folder, _, _)) in enumerate(IMAGES.items())
            ],
        }
    }
    for folder in ("train2014", "val2014"):
        inside = {key: value for key, value in IMAGES.items() if value[0] == folder}
        images = [
            {"id": key, "file_name": file_name(key), "width": 640, "height": 400 + key}
            for key in inside
        ]
        files[f"annotations/instances_{folder}.json"] = {
            "info": {},
            "images": images,
            "annotations": [
                {
                    "id": 1000 + number,
                    "image_id": key,
                    "category_id": category,
                    "iscrowd": int(key == 7),
                    "segmentation": {"counts": [1, 2], "size": [2, 2]} if key == 7 else [[1.5, 2]],
                    "bbox": [0.0, 0.0, 1.0, 1.0],
                    "area": 1.5,
                }
                for key, (_, categories, _) in inside.items()
                for number, category in enumerate(categories)
            ],
            "categories": [dict(category) for category in CATEGORIES],
        }
        files[f"annotations/captions_{folder}.json"] = {
            "images": list(images),
            "annotations": [
                {"id": 100 * key + number, "image_id": key, "caption": caption}
                for key, (_, _, captions) in inside.items()
                for number, caption in enumerate(captions)
            ],
        }
    pictures = [f"images/{IMAGES[key][0]}/{file_name(key)}" for key in IMAGES]
    return CocoFolder(tmp_path / "coco", files, pictures)
