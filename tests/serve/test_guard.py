import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhash.serve.guard import from_own_page, known_host


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost:8000", "LocalHost:8000", "[::1]:8000"]
)
def test_the_names_of_this_machine_are_known(host: str) -> None:
    assert known_host(host, 8000)
    assert not known_host(host, 8001)


@pytest.mark.parametrize(
    "host",
    [
        *("", "127.0.0.1", "localhost", "evil.example:8000", "127.0.0.1:8000.evil.example"),
        *("localhost:8000@evil.example", "127.0.0.1:8000, evil.example", "0.0.0.0:8000"),
        *("127.0.0.1.evil.example:8000", " localhost:8000", "127.1:8000", "[::]:8000"),
    ],
)
def test_another_name_is_not(host: str) -> None:
    assert not known_host(host, 8000)


def test_port_80_is_left_out_by_browsers() -> None:
    assert known_host("localhost", 80)
    assert known_host("localhost:80", 80)
    assert not known_host("evil.example", 80)


@given(st.text(), st.integers(1, 65535))
def test_a_host_that_is_known_names_this_machine(host: str, port: int) -> None:
    if known_host(host, port):
        assert host.lower().removesuffix(f":{port}") in ("127.0.0.1", "localhost", "[::1]")


def test_a_page_of_this_server_may_ask_and_so_may_a_program() -> None:
    host = "localhost:8000"
    assert from_own_page(host, "http://localhost:8000", "same-origin")
    assert from_own_page(host, "http://localhost:8000", None)  # a browser without Sec-Fetch-Site
    assert from_own_page(host, None, None)  # curl


@pytest.mark.parametrize(
    ("origin", "fetch_site"),
    [
        ("http://evil.example", "cross-site"),
        ("http://evil.example", None),
        ("null", None),  # a sandboxed frame, or a page from the file system
        ("", None),
        ("http://localhost:9000", "same-site"),  # another server of this machine
        ("http://127.0.0.1:8000", None),  # another name: another origin
        ("https://localhost:8000", None),
        ("http://localhost:8000", "cross-site"),
        (None, "cross-site"),
        (None, "none"),
    ],
)
def test_another_page_may_not(origin: str | None, fetch_site: str | None) -> None:
    assert not from_own_page("localhost:8000", origin, fetch_site)
