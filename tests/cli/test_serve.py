import importlib.util
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mmhash.cli import serve as module

from .conftest import exit_of


def test_help_gives_an_example_and_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("serve", "--help") == 0
    shown = capsys.readouterr().out
    assert "example: mmhash serve" in shown
    assert "pip install -r requirements-serve.txt" in shown


@pytest.mark.parametrize(
    "arguments",
    [("--port", "x"), ("--port", "-1"), ("--port", "65536"), ("--host", "0.0.0.0"), ("folder",)],
)
def test_wrong_usage_is_exit_code_two(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of("serve", *arguments) == 2
    assert "usage: mmhash" in capsys.readouterr().err


def test_packages_that_are_missing_are_one_line_with_the_mend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert exit_of("serve") == 1
    assert capsys.readouterr().err == (
        "error: mmhash serve needs flask and waitress: pip install -r requirements-serve.txt\n"
    )


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert exit_of("serve", "--port", str(port)) == 1
    line = capsys.readouterr().err
    assert line == (
        f"error: port {port} is in use; end what listens there, or choose another with --port\n"
    )


def test_a_folder_without_a_run_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of("serve", "--port", "0", "--run", str(tmp_path)) == 1
    captured = capsys.readouterr()
    assert re.fullmatch(r"error: .*params\.yaml: no such file; run dvc repro.*\n", captured.err)
    assert captured.out == ""


def test_the_other_commands_do_not_load_the_web_server(repository: Path) -> None:
    code = (
        "import sys, mmhash.cli.main\n"
        "try: mmhash.cli.main.main(['cost', '--help'])\n"
        "except SystemExit: pass\n"
        "loaded = {'flask', 'waitress', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(loaded) if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_extra_names_the_pins_of_the_tests(repository: Path) -> None:
    wanted = (repository / "requirements-serve.txt").read_text().splitlines()
    tested = (repository / "requirements-test.txt").read_text().splitlines()
    assert {line for line in wanted if "==" in line} <= set(tested)
    assert all(importlib.util.find_spec(name) for name in module.PACKAGES)
