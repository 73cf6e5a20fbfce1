"""Where the towers run and in which precision: choices that change a result by rounding only."""

import torch

from mmhash.errors import InputError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str) -> torch.device:
    """Return the device for ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.

    Raises :class:`InputError` for ``cuda`` on a machine where PyTorch sees no CUDA device.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InputError(
            f"hardware device is cuda, but torch {torch.__version__} sees no CUDA device; "
            "use run.hardware=cpu, or install the driver and a CUDA build of torch"
        )
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"hardware device is {device!r}; allowed are auto, cpu and cuda")
    return torch.device("cuda" if available and device != "cpu" else "cpu")


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the precision of the matrix products, which autocast then uses.

    ``precision`` is ``float32``, ``bfloat16``, ``float16`` or ``auto``. On CUDA ``auto`` is
    bfloat16, or float16 on cards older than Ampere, which only emulate bfloat16. On a CPU it is
    bfloat16 where the processor has AMX tiles, else float32: the AVX-512 bfloat16 dot product
    alone has no higher peak than float32 on Intel, and whole towers are slower with it. Raises
    :class:`InputError` for float16 on a CPU.
    """
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if native else torch.float16
        return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32
    if precision not in _DTYPES:
        raise InputError(
            f"hardware precision is {precision!r}; allowed are auto, {', '.join(_DTYPES)}"
        )
    if precision == "float16" and device.type == "cpu":
        raise InputError(
            "hardware precision float16 needs a CUDA device; use auto, bfloat16 or float32 on a CPU"
        )
    return _DTYPES[precision]


def describe_device(device: torch.device) -> str:
    """Return the device in words for the records: ``cpu``, or the name of the CUDA card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
