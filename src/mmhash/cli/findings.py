"""Lines of a check-up: ok, warn or fail, what was seen, and the mend."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line. ``mend`` says what to do where the status is not ok."""

    status: Status
    name: str
    seen: str
    mend: str = ""

    def line(self) -> str:
        """Return the line as it is printed."""
        text = f"{self.status:<5} {self.name}: {self.seen}"
        return f"{text} -> {self.mend}" if self.mend else text


def show(finding: Finding) -> bool:
    """Print a finding at once; return False where it is a failure."""
    print(finding.line(), flush=True)
    return finding.status != "fail"


def estimated(name: str, estimate: Callable[[], Finding]) -> Finding:
    """Return what ``estimate`` finds, or that the GPU has no room for the work that it measures."""
    try:
        return estimate()
    except torch.OutOfMemoryError:
        seen = "the GPU ran out of memory in a slice of the work"
        return Finding("fail", name, seen, "-S run.hardware=emergency, or free the GPU")
