"""check_params: refuse a wrong value before DVC clears the outputs of the stage that reads it."""

import sys

import _checkout  # noqa: F401

from mmhash.errors import exit_code
from mmhash.params import load_params


def main() -> None:
    """Validate ``params.yaml`` as a whole."""
    load_params()


if __name__ == "__main__":
    sys.exit(exit_code(main))
