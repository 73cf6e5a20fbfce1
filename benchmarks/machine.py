"""The name of a machine in the results of the benchmarks.

Not a benchmark itself.
"""

import os
import platform


def machine_name() -> str:
    """Return the kind of processor and the number of cores, as file names carry them."""
    return f"{platform.machine()}-{os.cpu_count()}cores"
