"""Put this checkout's ``src/`` first on the path.

In ``dvc exp run --temp`` the stages run in a copy of the repository while the installed package
points at the main checkout; the copy must use its own code.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
