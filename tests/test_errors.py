import errno
from pathlib import Path

import pytest
import torch

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


def test_a_full_disk_is_one_line_with_the_mend(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        with Path("/dev/full").open("w") as stream:
            stream.write("x")

    assert exit_code(main) == 1
    assert capsys.readouterr().err == "error: writing: No space left on device; make room\n"


def test_a_place_that_may_not_be_written_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "model/weights.safetensors")

    assert exit_code(main) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: model/weights.safetensors: Permission denied; choose")


def test_a_gpu_that_is_full_is_one_line_with_the_mend(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    assert exit_code(main) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: CUDA out of memory. Tried to allocate 2.00 GiB")
    assert "-S run.hardware=emergency" in line
    assert line.count("\n") == 1


def test_another_fault_of_pytorch_keeps_its_traceback() -> None:
    def main() -> None:
        torch.zeros(2) @ torch.zeros(3)

    with pytest.raises(RuntimeError):
        exit_code(main)


def test_a_file_that_we_forgot_to_check_keeps_its_traceback() -> None:
    def main() -> None:
        Path("/no/such/file").read_bytes()

    with pytest.raises(FileNotFoundError):
        exit_code(main)


def test_success_is_zero() -> None:
    assert exit_code(lambda: None) == 0
