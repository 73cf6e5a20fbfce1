"""The system says no: one line each, and the exit code 1."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmhash.cli.main import main
from mmhash.cli.outside import said_in_a_line
from mmhash.errors import InputError


def shell(command: str, folder: Path, count: int = 1) -> tuple[int, str, str]:
    """Run ``mmhash cost`` (``{}`` in ``command``) in a folder with the cost of many stages."""
    (folder / "metrics/cost").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"metrics/cost/stage{number}.json").write_text(
            '{"seconds": 1, "peak_ram_mb": 2, "peak_vram_mb": null}'
        )
    program = f"'{sys.executable}' -c 'from mmhash.cli.main import main; main()' cost"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command.format(program)}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.returncode, done.stdout, done.stderr


def test_what_the_system_refuses_is_one_line_that_names_the_file() -> None:
    refused = OSError(errno.ENOSPC, "No space left on device", "collection/state.json")
    line = r"^collection/state.json: No space .*; make room$"
    with pytest.raises(InputError, match=line), said_in_a_line():
        raise refused
    line = r"^writing: Read-only file system; choose another place"
    with pytest.raises(InputError, match=line), said_in_a_line():
        raise OSError(errno.EROFS, "Read-only file system")


def test_a_bug_keeps_its_traceback() -> None:
    for bug in (KeyError("knn"), OSError("made by a library")):
        with pytest.raises(type(bug)), said_in_a_line():
            raise bug


def test_a_name_that_is_too_long_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", __file__, "--run", "a" * 5000])
    assert ended.value.code == 1
    assert capsys.readouterr().err.endswith("File name too long; choose a shorter one\n")


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(tmp_path: Path) -> None:
    code, _, told = shell("{} | true", tmp_path, 2000)
    assert (code, told) == (1, "")


def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path) -> None:
    code, _, told = shell("{} > /dev/full", tmp_path)
    assert (code, told) == (1, "error: writing: No space left on device; make room\n")


def test_closed_streams_do_no_harm(tmp_path: Path) -> None:
    assert shell("{} >&- 2>&- <&-", tmp_path) == (0, "", "")
