import shutil
from pathlib import Path

import pytest

from mmhash.files import write_json

from .conftest import exit_of


def test_without_a_run_it_is_one_line_with_the_mend(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_of("report") == 1
    assert "params.yaml: no such file" in capsys.readouterr().err
    shutil.copy(repository / "params.yaml", tmp_path)
    assert exit_of("report") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no run has ended here; run dvc repro first" in said
    assert not (tmp_path / "reports").exists()


def test_it_says_where_the_page_is_and_how_large(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(repository / "params.yaml", tmp_path)
    write_json("metrics/eval.json", {"test": {"knn": {"mAP": 0.4}}})
    assert exit_of("report", "--out", "here/run.html") == 0
    assert capsys.readouterr().out.startswith("here/run.html: 0.9 MB in ")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["run.html"]
