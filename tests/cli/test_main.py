import subprocess
import sys
from pathlib import Path

import pytest

from mmhash.files import write_json

from .conftest import exit_of


def test_help_gives_an_example_and_exits_well(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("doctor", "cost", "ablate", "index", "predict", "report", "serve", "export"):
        assert exit_of(command, "--help") == 0
        assert f"example: mmhash {command}" in capsys.readouterr().out


def test_help_waits_for_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys, mmhash.cli.main; "
        "assert not {'torch', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wrong_usage_is_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("dctor") == 2
    assert exit_of() == 2
    assert exit_of("doctor", "--fast") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("A9",),
        ("A2", "--seeds", "0"),
        ("A2", "--seeds", "three"),
        ("A2", "-S", "hash.bits"),
        ("A2", "--keep-going"),
    ],
)
def test_wrong_usage_of_ablate_is_exit_code_two(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of("ablate", *arguments) == 2
    assert "usage: mmhash" in capsys.readouterr().err


def test_the_list_of_studies_counts_rows_and_distinct_runs(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    assert exit_of("ablate", "--list") == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["A2"][1:4] == ["6", "6", "3"]
    assert lines["A3"][1:4] == ["3", "1", "3"]  # the heads of one run
    assert lines["grid"][1:4] == ["27", "20", "3"]  # alpha without gradient; two are the base
    assert lines["kfold"][1:4] == ["6", "6", "1"]


def test_a_value_out_of_range_ends_ablate_before_anything_runs(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    assert exit_of("ablate", "A1", "-S", "hash.bits=24") == 1
    assert "hash.bits = 24" in capsys.readouterr().err
    assert exit_of("ablate", "A1", "-S", "hash.bit=16") == 1
    assert "unknown key hash.bit;" in capsys.readouterr().err
    assert exit_of("ablate", "A1", "--dataset", "nowhere") == 1
    assert "run.dataset = 'nowhere'" in capsys.readouterr().err
    assert exit_of("ablate", "B3", "--dataset", "features") == 1
    assert "B3 varies the patches of a NaFlex checkpoint" in capsys.readouterr().err


def test_cost_shows_what_each_stage_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_of("cost") == 1
    assert "no stage has run in this checkout; run dvc repro" in capsys.readouterr().err
    write_json("metrics/cost/train.json", {"seconds": 12.34, "peak_ram_mb": 456.0})
    write_json(
        "metrics/cost/build_index.json",
        {"seconds": 2.0, "items": 3600, "index_build_seconds": 0.123, "peak_ram_mb": 90.0},
    )
    write_json(
        "metrics/cost/evaluate.json",
        {
            "seconds": 1.0,
            "peak_ram_mb": 100.0,
            "query_ms_mean": 2.0,
            "knn_query_ms_mean": 25.0,
            "knn_queries_per_second_batched": 300.0,
        },
    )
    assert exit_of("cost") == 0
    shown = capsys.readouterr().out
    assert "12.3" in shown
    assert "456" in shown
    assert "build_index index_build_seconds: 0.123" in shown
    assert "advice: a query takes 25.0 ms, over 10 ms: send queries in batches (300 a" in shown


def test_cost_waits_for_none_of_the_heavy_libraries() -> None:
    code = "import sys, mmhash.cli.cost; assert not {'torch', 'faiss'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_doctor_outside_a_checkout_says_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_of("doctor") == 1
    assert "run from the repository's root" in capsys.readouterr().err


def test_the_installed_command_is_the_function_tested_here(repository: Path) -> None:
    script = Path(sys.executable).parent / "mmhash"
    if not script.exists():
        pytest.fail("mmhash is not installed; run make install")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, cwd=repository)
    assert done.returncode == 0
    assert "doctor" in done.stdout
