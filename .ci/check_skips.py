"""Fail when a test was skipped for a reason that is not on the list."""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def main(report: str, list_of_reasons: str) -> int:
    """Return 1 and name the tests when the JUnit ``report`` has a skip that is not allowed."""
    lines = Path(list_of_reasons).read_text(encoding="utf-8").splitlines()
    allowed = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    # The report was written by pytest a moment ago on this machine.
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314
    surprises = []
    for case in cases:
        for skip in case.findall("skipped"):
            reason = (skip.get("message") or "").removeprefix("Skipped: ").strip()
            if reason not in allowed:
                surprises.append(f"{case.get('classname')}::{case.get('name')}: {reason}")
    for line in surprises:
        print(f"skipped for a reason that is not on the list: {line}", file=sys.stderr)
    print(f"{len(cases)} tests in the report, {len(surprises)} skipped without leave")
    return 1 if surprises or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
