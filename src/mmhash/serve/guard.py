"""Whom a request is from: the server answers this machine's own pages and programs.

Binding to 127.0.0.1 keeps other machines out, but not the web pages that a browser on this machine
has open. Such a page can send requests here (cross-site request forgery), and with a name of its
own that it lets point to 127.0.0.1 it could read the answers too (DNS rebinding). The first is told
by ``Sec-Fetch-Site`` and ``Origin``, which no page can forge, the second by ``Host``.
"""

NAMES = ("127.0.0.1", "localhost", "[::1]")


def known_host(host: str, port: int) -> bool:
    """Whether the header ``Host`` names this machine and ``port``."""
    allowed = {f"{name}:{port}" for name in NAMES}
    return host.lower() in allowed or (port == 80 and host.lower() in NAMES)  # 80 is left out


def from_own_page(host: str, origin: str | None, fetch_site: str | None) -> bool:
    """Whether a request that asks for work comes from the served page, or from no page at all.

    By the headers ``Host``, known to be right (:func:`known_host`), ``Origin``, which browsers send
    with each POST, and ``Sec-Fetch-Site``, which they send with each request; None: not sent. A
    program such as curl, which sends neither, acts for the user who started it.
    """
    if fetch_site not in (None, "same-origin"):
        return False
    return origin is None or origin.lower() == f"http://{host.lower()}"
