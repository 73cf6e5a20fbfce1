import base64
import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhash.errors import InputError
from mmhash.page.document import ASSETS, SCRIPTS, embedded, page_html, served

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(anything)
def test_values_come_back_and_nothing_in_them_can_end_the_element(value: object) -> None:
    text = embedded(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)
    text.encode("utf-8")  # halves of surrogate pairs are escaped


def test_the_policy_names_every_script_and_lets_nothing_else_run() -> None:
    page = page_html({"a": "</script><script>alert(1)</script>"}, {}, "<b>title</b>")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 4  # three libraries, and ours
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'none'" in policy[1]
    assert "unsafe-inline" not in policy[1].split("style-src")[0]
    assert "<title>&lt;b&gt;title&lt;/b&gt;</title>" in page
    assert "alert(1)</script>" not in page
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="', markup)
    assert page == page_html({"a": "</script><script>alert(1)</script>"}, {}, "<b>title</b>")


def test_what_is_put_in_is_not_looked_at_again() -> None:
    page = page_html({"a": "@STYLE@"}, {"b": "@VALUES@"}, "@POLICY@")
    assert '{"a":"@STYLE@"}' in page
    assert "<title>@POLICY@</title>" in page


def test_a_served_page_may_ask_its_server_and_shows_the_form() -> None:
    page = page_html({}, {}, "t")
    asked = served(page)
    assert "connect-src 'self'" in asked
    assert "connect-src 'none'" not in asked
    assert '<meta name="mmhash-serve" content="on">' in asked
    with pytest.raises(InputError, match="run it again"):
        served("<html></html>")


def test_every_script_is_used_and_none_writes_markup() -> None:
    assert {path.name for path in ASSETS.iterdir()} == {"page.html", "page.css", *SCRIPTS}
    for name in SCRIPTS:
        text = (ASSETS / name).read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text), name
