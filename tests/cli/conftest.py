"""What the tests of several commands share."""

import pytest

from mmhash.cli.main import main


def exit_of(*arguments: str) -> int:
    """Run ``mmhash`` in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)
