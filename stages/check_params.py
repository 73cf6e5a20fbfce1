"""check_params: refuse a wrong value before DVC clears the outputs of the stage that reads it.

A tracking package that is asked for and not installed would end the training in the same way.
"""

import sys

import _checkout  # noqa: F401

from mmhash.errors import exit_code
from mmhash.params import load_params
from mmhash.tracking import require_packages


def main() -> None:
    """Validate ``params.yaml`` as a whole, and look for the optional packages it asks for."""
    require_packages(load_params().tracking.model_dump())


if __name__ == "__main__":
    sys.exit(exit_code(main))
