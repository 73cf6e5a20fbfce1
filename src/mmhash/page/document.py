"""The page as one file: values and thumbnails written into ``assets/page.html``, nothing fetched.

Values stand in script elements of type application/json, which are data to a browser; ``<``, ``>``
and ``&`` are escaped in them, so that no caption can end the element. The Content-Security-Policy
lets no script run but those whose SHA-256 it names, and no request leave. ``unsafe-eval`` stays:
Vega compiles the expressions of its charts; none is made from data.
"""

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

from mmhash.errors import InputError

ASSETS = Path(__file__).parent / "assets"
VEGA = Path("third_party/vega")
LIBRARIES = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")  # each needs those before it
SCRIPTS = (
    *("core.js", "tables.js", "charts.js", "cards.js", "overview.js", "classes.js"),
    *("explorer.js", "bits.js", "training.js", "compared.js", "predict.js", "start.js"),
)
OFFLINE, SERVED = "connect-src 'none'", "connect-src 'self'"
SERVED_MARK = '<meta name="mmhash-serve" content="off">'


def page_html(values: dict[str, Any], thumbnails: dict[str, str], title: str) -> str:
    """Return the whole page; equal arguments give equal bytes."""
    scripts = [_script(_library(name)) for name in LIBRARIES]
    own = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    scripts.append(_script(f'"use strict";\n(function () {{\n{own}\n}})();'))
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        f"img-src data: blob:; {OFFLINE}; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "POLICY": policy,
        "SERVED": SERVED_MARK,
        "TITLE": html.escape(title),
        "STYLE": (ASSETS / "page.css").read_text(encoding="utf-8"),
        "VALUES": embedded(values),
        "THUMBNAILS": embedded(thumbnails),
        "SCRIPTS": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    skeleton = (ASSETS / "page.html").read_text(encoding="utf-8")
    # In one pass: what is put in is not looked at again.
    return re.sub(r"<!-- ([A-Z]+) -->|@([A-Z]+)@", lambda m: parts[m[1] or m[2]], skeleton)


def served(page: str) -> str:
    """Return a page of :func:`page_html` for ``mmhash serve``: the form is shown and may ask.

    Only requests to the server that the page came from are let through.
    """
    if page.count(SERVED_MARK) != 1 or OFFLINE not in page:
        raise InputError("not a page of this version of mmhash report; run it again")
    return page.replace(OFFLINE, SERVED, 1).replace(SERVED_MARK, SERVED_MARK.replace("off", "on"))


def embedded(value: Any) -> str:
    """Return JSON that may stand inside a script element, whatever the strings in it say.

    >>> embedded("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Beside what could end the element: line separators, and halves of surrogate pairs, which
    # UTF-8 cannot hold.
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _script(text: str) -> str:
    """Return JavaScript as the content of a script element.

    ``</script`` inside a string would end the element, ``<!--`` would start a comment state, a
    source map would be looked for beside the page.
    """
    text = re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"</(script)", r"<\\/\1", text, flags=re.IGNORECASE).replace("<!--", r"<\!--")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _library(name: str) -> str:
    """Return a chart library from the checkout: the one that this module lies in, or is run in."""
    for root in (Path(__file__).resolve().parents[3], Path()):
        if (root / VEGA / name).is_file():
            return (root / VEGA / name).read_text(encoding="utf-8")
    raise InputError(f"{VEGA / name}: no such file; run mmhash report from the repository's root")
