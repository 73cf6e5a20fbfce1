import pytest
import torch

from mmhash.encoders.device import choose_device, choose_precision, describe_device
from mmhash.errors import InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "available", "given"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_device_follows_the_word_and_the_machine(
    asked: str, available: bool, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device(asked) == torch.device(given)


def test_cuda_without_a_device_says_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"run\.hardware=cpu") as error:
        choose_device("cuda")
    assert "\n" not in str(error.value)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(InputError, match="tpu"):
        choose_device("tpu")
    with pytest.raises(InputError, match="int8"):
        choose_precision("int8", CPU)


@pytest.mark.parametrize(("amx", "given"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_on_a_cpu_wants_instructions_that_are_faster(
    amx: bool, given: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert choose_precision("auto", CPU) == given


@pytest.mark.parametrize(("native", "given"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_cuda_is_bfloat16_where_native(
    native: bool, given: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert choose_precision("auto", CUDA) == given


def test_named_precisions() -> None:
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    assert choose_precision("float32", CUDA) == torch.float32
    assert choose_precision("float16", CUDA) == torch.float16
    with pytest.raises(InputError, match="float16 needs a CUDA device"):
        choose_precision("float16", CPU)


def test_cpu_is_described_in_a_word() -> None:
    assert describe_device(CPU) == "cpu"
