"""Put the page of ``dvc plots`` together: page.html with the chart libraries written into it.

Run from anywhere: ``python third_party/vega/build_template.py``. The result is
``.dvc/plots_page.html``; a test compares it with what this script makes.
"""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / ".dvc" / "plots_page.html"
LIBRARIES = ["vega.min.js", "vega-lite.min.js", "vega-embed.min.js"]  # each needs those before it
PLACE = "<!-- LIBRARIES -->"


def inline(javascript: str) -> str:
    """Return a script element that holds ``javascript``.

    ``</script`` inside a string would end the element, ``<!--`` would start a comment state, and
    braces around DVC's placeholder names would be filled in; a source map would be looked for
    beside the page.
    """
    text = re.sub(r"^//# sourceMappingURL=.*$", "", javascript, flags=re.MULTILINE)
    text = re.sub(r"</(script)", r"<\\/\1", text, flags=re.IGNORECASE).replace("<!--", r"<\!--")
    for name in ("scripts", "plot_divs", "refresh_tag"):
        if "{" + name + "}" in text:
            raise ValueError(f"the library contains {{{name}}}, which DVC would replace")
    return f"<script>\n{text.strip()}\n</script>"


def page() -> str:
    """Return the whole page template."""
    scripts = [inline((HERE / name).read_text(encoding="utf-8")) for name in LIBRARIES]
    skeleton = (HERE / "page.html").read_text(encoding="utf-8")
    if skeleton.count(PLACE) != 1 or skeleton.count("{plot_divs}") != 1:
        raise ValueError(f"page.html must have {PLACE} and {{plot_divs}} once each")
    return skeleton.replace(PLACE, "\n".join(scripts))


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8", newline="\n")
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")
