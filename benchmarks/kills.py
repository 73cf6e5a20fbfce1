"""Kill -9 at random moments over download, extraction and training: what is lost, what changes.

    python benchmarks/kills.py --kills 200

In a clone of this checkout (what is committed) the sample runs once undisturbed. Then each of three
stages is started and killed, with everything it started, after a random time, again and again until
it ends by itself. Its outputs must be the bytes of the undisturbed run, and what was finished
before a kill (an epoch, a shard, bytes of an archive) must still be there after it. The download is
of an invented COCO of 30 MB from a slow local server. Prints one table and writes it to
``benchmarks/results/``; ends with 1 if anything was lost or changed.
"""

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
from machine import HERE, clone_environment, cloned, machine_name
from ruamel.yaml import YAML

from mmhash.files import read_json, sha256_file, write_json
from mmhash.seeding import numpy_stream

SHARE = {"fetch_data": 0.2, "extract_features": 0.4, "train": 0.4}
UNIT = {"fetch_data": "archive", "extract_features": "shard", "train": "epoch"}
INVENTED = "data/invented"
ARCHIVES = {
    "annotations_trainval2014.zip": "annotations",
    "train2014.zip": "images/train2014",
    "val2014.zip": "images/val2014",
}
RATE = 8 << 20  # bytes a second of the server, for each archive


@dataclass
class Outcome:
    """What happened to one stage: runs that ended, kills, units lost, runs with other bytes."""

    runs: int = 0
    kills: int = 0
    lost: int = 0
    changed: int = 0


# Told what each attempt said, it returns how much finished work was lost since the one before.
Watch = Callable[[str], int]


@dataclass
class Stage:
    """A stage in the clone: what it writes, where it keeps its state, what counts as finished."""

    name: str
    outs: list[str]
    state: list[str]
    watch: Callable[[Path], Watch]


def digests(root: Path, outs: list[str]) -> dict[str, str]:
    """Return the SHA-256 of every file below ``outs``."""
    found = {}
    for out in outs:
        path = root / out
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                found[file.relative_to(root).as_posix()] = sha256_file(file)
    return found


ENVIRONMENT = clone_environment() | {"no_proxy": "127.0.0.1"}


def attempt(root: Path, stage: str, limit: float | None) -> tuple[bool, str]:
    """Run a stage, killed after ``limit`` seconds; return (ended, what it said)."""
    process = subprocess.Popen(
        [sys.executable, f"stages/{stage}.py"],
        cwd=root,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return False, said
    if process.returncode:
        sys.exit(f"{stage} failed:\n{said}")
    return True, said


def torment(root: Path, stage: Stage, kills: int, draw: np.random.Generator) -> Outcome:
    """Kill ``stage`` until it was killed ``kills`` times; every begun run is brought to its end."""
    expected = digests(root, stage.outs)
    outcome = Outcome()
    _clear(root, stage)
    start = time.perf_counter()
    attempt(root, stage.name, None)
    seconds = time.perf_counter() - start
    outcome.changed += digests(root, stage.outs) != expected
    while outcome.kills < kills:
        _clear(root, stage)
        lost = stage.watch(root)
        ended = False
        while not ended:
            left = kills - outcome.kills
            limit = float(draw.uniform(0, seconds / 2)) if left > 0 else None
            ended, said = attempt(root, stage.name, limit)
            if not ended:
                outcome.kills += 1
                outcome.lost += lost(said)
        outcome.runs += 1
        outcome.changed += digests(root, stage.outs) != expected
        print(f"{stage.name}: {outcome.kills} kills, {outcome.runs} runs ended", flush=True)
    return outcome


def _clear(root: Path, stage: Stage) -> None:
    for name in [*stage.outs, *stage.state]:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def watch_epochs(_: Path) -> Watch:
    """Return a function of what an attempt said: how many finished epochs it trained again.

    One does not count: its last line can be written and its state not yet.
    """
    last = 0

    def lost(said: str) -> int:
        nonlocal last
        begun = [int(number) for number in re.findall(r"epoch (\d+) step", said)]
        again = max(0, last - begun[0]) if begun else 0
        last = max([last, *(int(number) for number in re.findall(r"epoch (\d+): loss", said))])
        return again

    return lost


def watch_shards(root: Path) -> Watch:
    """Return a function that counts the shards that are gone or were written again."""
    before: dict[Path, tuple[int, int]] = {}

    def lost(_: str) -> int:
        shards = (root / ".cache/extract_features").rglob("0*.safetensors")
        after = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in shards}
        gone = sum(after.get(path) != written for path, written in before.items())
        before.clear()
        before.update(after)
        return gone

    return lost


def watch_archives(root: Path) -> Watch:
    """Return a function that counts the archives of which less is there than before."""
    before = dict.fromkeys(ARCHIVES, 0)

    def lost(_: str) -> int:
        gone = 0
        for archive, unpacked in ARCHIVES.items():
            packed = root / INVENTED / ".downloads" / archive
            part = packed.with_name(f"{archive}.part")
            if packed.exists() or (root / INVENTED / unpacked).exists():
                there = sys.maxsize
            else:
                there = part.stat().st_size if part.exists() else 0
            gone += there < before[archive]
            before[archive] = there
        return gone

    return lost


STAGES = [
    Stage(
        "fetch_data",
        ["data/manifest.json", INVENTED],
        [".cache/downloads"],
        watch_archives,
    ),
    Stage(
        "extract_features",
        ["features", "metrics/features.json"],
        [".cache/extract_features"],
        watch_shards,
    ),
    Stage("train", ["model", "dvclive", "metrics/train.json"], [".cache/train"], watch_epochs),
]


class SlowServer:
    """Archives of an invented COCO, at :data:`RATE` bytes a second and with ranges."""

    def __init__(self, folder: Path) -> None:
        draw = numpy_stream(1, "kills", "archives")
        members: dict[str, dict[str, bytes]] = {
            "annotations_trainval2014.zip": {
                f"annotations/{kind}_{part}.json": b"{}" + b" " * 100_000
                for kind in ("instances", "captions")
                for part in ("train2014", "val2014")
            },
            "caption_datasets.zip": {"dataset_coco.json": b"{}"},
        }
        for part, count in (("train2014", 200), ("val2014", 100)):
            members[f"{part}.zip"] = {
                f"{part}/{n:06d}.jpg": draw.bytes(100_000) for n in range(count)
            }
        self.bodies: dict[str, bytes] = {}
        for name, files in members.items():
            with zipfile.ZipFile(folder / name, "w") as archive:
                for member, content in files.items():
                    archive.writestr(member, content)
            self.bodies[name] = (folder / name).read_bytes()
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = bodies[self.path.rpartition("/")[2]]
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
                start = int(asked[1]) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(body) - start))
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.end_headers()
                with suppress(OSError):  # the other side was killed
                    for at in range(start, len(body), RATE // 20):
                        self.wfile.write(body[at : at + RATE // 20])
                        time.sleep(0.05)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def descriptor(self, official: dict[str, Any]) -> dict[str, Any]:
        """Return the official descriptor with this server's addresses, sizes and sums."""
        for entry in [*official["archives"], official["split_file"]]:
            name = entry["url"].rpartition("/")[2]
            body = self.bodies[name]
            entry["url"] = f"http://127.0.0.1:{self.http.server_address[1]}/{name}"
            entry["bytes"], entry["sha256"] = len(body), hashlib.sha256(body).hexdigest()
        return official


def prepare_download(root: Path, served: SlowServer) -> None:
    """Let the clone's ``fetch_data`` bring the invented COCO, from here on."""
    descriptor = root / "data/descriptors/coco2014.json"
    official = served.descriptor(read_json(descriptor))
    for archive in official["archives"]:
        archive["max_bytes"] = 10**8
    write_json(descriptor, official)
    yaml = YAML()
    values = yaml.load((root / "params.yaml").read_text(encoding="utf-8"))
    values["run"]["dataset"] = "coco2014"
    values["datasets"]["coco2014"] |= {"root": INVENTED, "download": True}
    with (root / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(values, stream)


def main() -> None:
    """Clone, run undisturbed, torment, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    found: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="mmhash-kills-") as folder:
        root = cloned(Path(folder))
        subprocess.run(["dvc", "repro", "-q", "train"], cwd=root, env=ENVIRONMENT, check=True)
        for stage in reversed(STAGES):
            if stage.name == "fetch_data":
                prepare_download(root, SlowServer(Path(folder)))
                attempt(root, stage.name, None)
            draw = numpy_stream(arguments.seed, "kills", stage.name)
            kills = round(arguments.kills * SHARE[stage.name])
            found[stage.name] = torment(root, stage, kills, draw)
    print("| stage | kills | runs ended | finished work lost | outputs changed |")
    print("| --- | --- | --- | --- | --- |")
    for name, outcome in found.items():
        lost = f"{outcome.lost} {UNIT[name]}s"
        print(f"| {name} | {outcome.kills} | {outcome.runs} | {lost} | {outcome.changed} |")
    machine = machine_name()
    write_json(
        HERE / "benchmarks/results" / f"kills-{machine}.json",
        {"data": "sample", "machine": machine, "seed": arguments.seed}
        | {"stages": {name: vars(outcome) for name, outcome in found.items()}},
    )
    if any(outcome.lost or outcome.changed for outcome in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
