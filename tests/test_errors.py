import pytest

from mmhash.errors import InputError, exit_code


def test_a_users_mistake_is_one_line_and_exit_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise InputError("params.yaml: hash.bits = 60:\n must be 64")

    assert exit_code(main) == 1
    assert capsys.readouterr().err == "error: params.yaml: hash.bits = 60: must be 64\n"


def test_ctrl_c_says_what_the_next_run_does(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    assert exit_code(main, "the next dvc repro resumes") == 130
    assert capsys.readouterr().err == "interrupted: the next dvc repro resumes\n"


def test_a_bug_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_code(main)


def test_success_is_zero() -> None:
    assert exit_code(lambda: None) == 0
