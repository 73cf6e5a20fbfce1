"""What the benchmarks share about where they run: the machine's name, and clones to run DVC in.

Not a benchmark itself.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def machine_name() -> str:
    """Return the kind of processor and the number of cores, as file names carry them."""
    return f"{platform.machine()}-{os.cpu_count()}cores"


def cloned(folder: Path) -> Path:
    """Clone this checkout (what is committed) to ``folder``/mmhash; return that."""
    clone = folder / "mmhash"
    subprocess.run(["git", "clone", "-q", str(HERE), str(clone)], check=True)
    return clone


def clone_environment() -> dict[str, str]:
    """Return the environment for DVC in a clone: this Python's commands, no DVC that runs us."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DVC_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}
