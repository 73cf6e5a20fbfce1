"""The page to show: what ``mmhash report`` wrote, written anew where it is not up to date."""

from contextlib import suppress
from pathlib import Path

import mmhash.page
from mmhash.errors import InputError
from mmhash.page.document import served
from mmhash.page.write import write_page

PAGE = Path("reports/index.html")
# Whatever stage runs again, one of these is written after it. (Experiments that ended since then
# come in with `mmhash report`.)
SHOWS = (
    *("params.yaml", "metrics/eval.json", "predictions/thresholds.json", "index/meta.json"),
    *("data/categories.json", "data/images.parquet"),
)


def current_page(root: Path) -> str:
    """Return the page of the run in the checkout ``root`` with the predict form switched on.

    ``reports/index.html`` is written first where it is missing, or older than what it shows or than
    the code that writes it. Raises :class:`InputError` as
    :func:`mmhash.page.write.write_page` does.
    """
    path = root / PAGE
    if _up_to_date(path):
        with suppress(InputError, UnicodeDecodeError):  # another program's page, or half of one
            return served(path.read_text(encoding="utf-8"))
    write_page(root, path)
    return served(path.read_text(encoding="utf-8"))


def _up_to_date(path: Path) -> bool:
    root = path.parents[len(PAGE.parts) - 1]
    code = [file for file in Path(mmhash.page.__path__[0]).rglob("*") if file.is_file()]
    sources = [file for name in SHOWS if (file := root / name).is_file()]
    return path.is_file() and path.stat().st_mtime > max(
        file.stat().st_mtime for file in [*code, *sources]
    )
