"""``mmhash ablate`` through real DVC: runs once, stops cleanly, goes on, reads what exists."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmhash.ablations.study import Row, Study
from mmhash.cli import ablate
from mmhash.cli.main import main

REPORT = Path("reports/ablations/C4.md")
SMALL = Study(
    "C4",
    "Temperature",
    "tau 0.07",
    (Row("tau 0.07", {"knn.tau": 0.07}), Row("tau 0.2", {"knn.tau": 0.2})),
)
NAMES = ["base-s1", "C4-tau-0.2-s1", "base-s2", "C4-tau-0.2-s2"]


def call() -> int:
    with pytest.raises(SystemExit) as ended:
        main(["ablate", "C4", "--seeds", "2"])
    return int(ended.value.code or 0)


def interrupt_at(log: Path, words: str) -> None:
    """Kill this process as a user would, once ``words`` stand in ``log``."""

    def wait() -> None:
        for _ in range(6000):
            if log.exists() and words in log.read_text():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(0.05)

    threading.Thread(target=wait, daemon=True).start()


def test_rows_run_once_stop_cleanly_and_go_on(
    checkout: Path,
    shell: Callable,
    user_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(checkout)
    for name, value in user_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ablate, "studies", lambda _: {"C4": SMALL})
    caplog.set_level(logging.INFO, logger="mmhash")
    params = Path("params.yaml").read_bytes()

    def experiments() -> list[str]:
        refs = shell(checkout, "git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout
        return sorted(ref.rpartition("/")[2] for ref in refs.split())

    interrupt_at(Path(".cache/ablate/C4-tau-0.2-s1.log"), "Running stage 'evaluate'")
    assert call() == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert experiments() == NAMES[:1]
    assert not REPORT.parent.exists()
    assert not list(Path(".dvc/tmp/exps/standalone").glob("tmp*")), "DVC's copy is cleared away"

    caplog.clear()
    assert call() == 0
    assert "4 rows and seeds are 4 experiments: 1 exist, 3 to run" in caplog.text
    assert [name for name in NAMES if f"] {name}" in caplog.text] == NAMES[1:]
    assert experiments() == sorted(NAMES)
    log = Path(".cache/ablate/C4-tau-0.2-s2.log").read_text()
    assert "Stage 'train' is cached" in log, "the vote changes nothing that was trained"
    page = capsys.readouterr().out
    assert "tau 0.2 | " in page
    assert "`knn.tau=0.2` | C4-tau-0.2-s1 … s2" in page
    assert "features (brought by the user)" in page

    made = {path.name: path.read_bytes() for path in REPORT.parent.iterdir()}
    assert set(made) == {"C4.md", "C4.csv", "C4.png"}
    caplog.clear()
    assert call() == 0
    assert "4 exist, 0 to run" in caplog.text
    assert made == {path.name: path.read_bytes() for path in REPORT.parent.iterdir()}

    assert Path("params.yaml").read_bytes() == params
    assert shell(checkout, "git", "status", "--porcelain").stdout == "?? reports/\n"


@pytest.mark.parametrize(
    ("dataset", "seeds", "said"),
    [
        ("sample", 3, ""),
        ("sample", 5, ""),
        ("sample", 1, "the table of sample, 3 seeds,"),
        ("wiki", 3, "the table of sample, 3 seeds,"),
    ],
)
def test_a_table_of_more_seeds_or_other_data_is_not_replaced_in_silence(
    tmp_path: Path, dataset: str, seeds: int, said: str
) -> None:
    file = tmp_path / "C4.csv"
    assert ablate._last_table(file, dataset, seeds) == ""
    file.write_text("study,dataset,row,n\nC4,sample,tau 0.03,3\n", encoding="utf-8")
    assert ablate._last_table(file, dataset, seeds) == said
    file.write_text("row,distance\n16 bits,hamming\n", encoding="utf-8")  # search costs
    assert ablate._last_table(file, dataset, seeds) == ""
