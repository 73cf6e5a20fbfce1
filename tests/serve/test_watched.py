import os
from pathlib import Path

import pytest

from mmhash.errors import InputError
from mmhash.serve import watched as module
from mmhash.serve.watched import WATCHED, Watched


class Run:
    """Stands for an opened run."""

    def __init__(self, root: Path) -> None:
        if (root / "broken").exists():
            raise InputError("not whole")
        self.root = root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "TrainedRun", Run)
    for name in WATCHED[:-1]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_a_run_that_nobody_changes_is_opened_once(root: Path) -> None:
    run = Run(root)
    watched = Watched(run)
    assert watched.now() is run
    (root / "reports").mkdir()
    assert watched.now() is run


@pytest.mark.parametrize("name", WATCHED)
def test_a_change_is_seen_by_the_next_answer_and_opens_the_run_once(root: Path, name: str) -> None:
    run = Run(root)
    watched = Watched(run)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("{}")
    os.utime(root / name, ns=(7, 7))
    second = watched.now()
    assert second is not run
    assert watched.now() is second
    (root / name).unlink()
    assert watched.now() is not second


def test_a_run_that_is_not_whole_is_tried_again(root: Path) -> None:
    watched = Watched(Run(root))
    os.utime(root / WATCHED[0], ns=(7, 7))
    (root / "broken").touch()
    for _ in range(2):
        with pytest.raises(InputError, match="not whole"):
            watched.now()
    (root / "broken").unlink()
    assert watched.now().root == root
