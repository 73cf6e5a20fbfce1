"""``reports/index.html`` written in one piece."""

from pathlib import Path

from mmhash.errors import InputError
from mmhash.files import write_text
from mmhash.page.build import page_values
from mmhash.page.document import page_html
from mmhash.page.source import open_run


def write_page(root: Path, out: Path) -> int:
    """Write the page of the run in the checkout ``root`` to ``out``; return its size in bytes.

    Equal inputs give equal bytes. Raises :class:`InputError` where there is no run, or where
    ``out`` cannot be written.
    """
    run = open_run(root)
    values, thumbnails = page_values(run)
    title = f"mmhash: {run.method} on {run.dataset}"
    page = page_html(values, thumbnails, title)
    if out.is_dir():
        raise InputError(f"{out}: is a folder; name a file, such as {out / 'index.html'}")
    try:
        write_text(out, page)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from None
    return len(page.encode())
