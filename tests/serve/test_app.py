import io
import queue
import threading
from typing import Any

import pytest

from mmhash.errors import InputError
from mmhash.serve import app as module
from mmhash.serve.app import make_app, policy_of

POLICY = "default-src 'none'; connect-src 'self'"
PAGE = f'<html><meta http-equiv="Content-Security-Policy" content="{POLICY}">page</html>'
BASE = "http://127.0.0.1:8000"


@pytest.fixture
def client(stand_in) -> Any:
    return make_app(stand_in, PAGE, 8000).test_client()


def send(client: Any, *files: tuple[str, bytes], captions: tuple[str, ...] = (), **kwargs) -> Any:
    data = {"picture": [(io.BytesIO(content), name) for name, content in files]}
    if captions:
        data["caption"] = list(captions)
    return client.post("/predict", data=data, base_url=BASE, **kwargs)


def line_of(answer: Any, status: int) -> str:
    """The one line of an error; nothing else may stand beside it."""
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert list(answer.json) == ["error"]
    line = answer.json["error"]
    assert "\n" not in line
    assert "Traceback" not in line
    return line


def test_the_page_is_shown_with_its_own_policy(client) -> None:
    answer = client.get("/", base_url=BASE)
    assert answer.status_code == 200
    assert answer.text == PAGE
    assert answer.mimetype == "text/html"
    assert answer.headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/predict"), ("GET", "/no")])
def test_every_answer_is_guarded_and_keeps_no_state(client, method: str, path: str) -> None:
    headers = client.open(path, method=method, base_url=BASE).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in headers
    assert "Access-Control-Allow-Origin" not in headers


def test_a_picture_is_tagged_with_its_caption_or_without(client, stand_in, a_picture) -> None:
    found = send(client, ("a.png", a_picture), captions=("two dogs",))
    assert found.json["predictions"][0]["tags"][0]["name"] == "40 wide"
    assert not found.json["predictions"][0]["image_only"]
    for captions in ((), ("",), ("  ",)):
        found = send(client, ("a.png", a_picture), captions=captions)
        assert found.json["predictions"][0]["image_only"]
    assert stand_in.captions == ["two dogs", None, None, None]


def test_several_pictures_have_a_caption_each(client, stand_in, a_picture) -> None:
    found = send(client, ("a", a_picture), ("b", a_picture), captions=("one", ""))
    assert [entry["image_only"] for entry in found.json["predictions"]] == [False, True]
    answer = send(client, ("a", a_picture), ("b", a_picture), captions=("one",))
    assert "1 captions for 2 pictures" in line_of(answer, 400)
    many = [("a", a_picture)] * (module.PICTURES + 1)
    assert "at most 8" in line_of(send(client, *many), 400)


@pytest.mark.parametrize(
    "caption",
    [
        "x" * 100_000,
        "👩‍👩‍👧 🏳️‍🌈",
        "כלב ליד חתול",
        "<script>alert(1)</script>",
        "\x00\x1b[2J",
        "\u202e",
    ],
)
def test_any_caption_reaches_the_run_as_it_is(client, stand_in, a_picture, caption: str) -> None:
    answer = send(client, ("a.png", a_picture), captions=(caption,))
    assert answer.status_code == 200
    assert stand_in.captions == [caption]


def test_a_caption_that_is_no_utf8_is_refused_as_predict_refuses_it(client, a_picture) -> None:
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
        for part in ((b'picture"; filename="a.png', a_picture), (b"caption", b"caf\xe9"))
    )
    kind = "multipart/form-data; boundary=x"
    answer = client.post("/predict", data=body + b"--x--\r\n", content_type=kind, base_url=BASE)
    assert line_of(answer, 400) == "a caption is no valid UTF-8; send it as UTF-8"


def test_hostile_pictures_are_one_line(client, hostile_pictures) -> None:
    for name, (content, expected) in hostile_pictures.items():
        line = line_of(send(client, (name, content)), 400)
        assert line.startswith(f"{name}: ")
        assert expected in line


def test_a_name_with_markup_comes_back_as_text_in_json(client) -> None:
    answer = send(client, ("<img src=x onerror=alert(1)>.jpg", b"no picture"))
    assert line_of(answer, 400).startswith("<img src=x onerror=alert(1)>.jpg: ")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", None),
        (b"", "multipart/form-data"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b'{"picture": 1}', "application/json"),
        (b"picture=1", "application/x-www-form-urlencoded"),
    ],
)
def test_a_request_without_a_picture_is_told_so(client, data: bytes, kind: str | None) -> None:
    answer = client.post("/predict", data=data, content_type=kind, base_url=BASE)
    assert "no picture" in line_of(answer, 400)


def test_too_much_is_refused(client, a_picture) -> None:
    answer = send(client, ("a.png", bytes(module.UPLOAD_BYTES + 1)))
    assert "at most 20 MB" in line_of(answer, 413)
    answer = send(client, ("a", a_picture), captions=("x" * (module.CAPTION_BYTES + 1),))
    assert "500,000 bytes of captions" in line_of(answer, 413)
    both, words = [("a", a_picture), ("b", a_picture)], "x" * (module.CAPTION_BYTES // 2 + 1)
    answer = send(client, *both, captions=(words, words))  # together
    assert "500,000 bytes of captions" in line_of(answer, 413)
    answer = send(client, ("a", a_picture), captions=("x",) * 200)
    assert "at most" in line_of(answer, 413)


@pytest.mark.parametrize(
    "path",
    [
        *("/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/params.yaml", "//etc/passwd"),
        *("/picture/../../params.yaml", "/picture/1", "/picture/%00", "/static/x", "/reports"),
        *("/predict/../params.yaml", "/C:%5Cwindows", "/\\\\host\\share", "/index.html"),
    ],
)
def test_no_path_leads_to_a_file(client, path: str) -> None:
    assert (
        line_of(client.get(path, base_url=BASE), 404) == "there is nothing here; the page is at /"
    )


def test_other_methods_are_refused(client) -> None:
    assert "POST /predict" in line_of(client.get("/predict", base_url=BASE), 405)
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        line_of(client.open("/", method=method, base_url=BASE), 405)


def test_another_host_and_another_page_are_refused(client, stand_in, a_picture) -> None:
    for path in ("/", "/predict", "/nothing"):
        answer = client.get(path, base_url="http://evil.example:8000")
        assert line_of(answer, 403) == (
            "not the address of this server; open http://127.0.0.1:8000/"
        )
    assert client.get("/", base_url="http://localhost:8000").status_code == 200
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = send(client, ("a.png", a_picture), headers=headers)
        assert line_of(answer, 403) == "requests of other pages are not answered"
    assert stand_in.captions == []
    own = {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}
    assert send(client, ("a.png", a_picture), headers=own).status_code == 200
    # A link on another page may lead here.
    led = client.get("/", base_url=BASE, headers={"Sec-Fetch-Site": "cross-site"})
    assert led.status_code == 200


def test_a_bug_of_ours_is_one_line_and_its_traceback_goes_to_the_log(
    client, stand_in, a_picture, caplog: pytest.LogCaptureFixture
) -> None:
    def stream(images, captions):
        raise RuntimeError(f"secret of {stand_in.root}")

    stand_in.stream = stream
    line = line_of(send(client, ("a.png", a_picture)), 500)
    assert "secret" not in line
    assert "RuntimeError: secret of" in caplog.text
    stand_in.stream = type(stand_in).stream.__get__(stand_in)
    assert send(client, ("a.png", a_picture)).status_code == 200  # and the next one is answered


def test_one_prediction_at_a_time_and_a_bounded_queue(stand_in, a_picture) -> None:
    application = make_app(stand_in, PAGE, 8000)
    at_work, most, go_on = [], [0], threading.Event()
    answer_at_once = stand_in.stream

    def stream(images, captions):
        at_work.append(1)
        most[0] = max(most[0], len(at_work))
        assert go_on.wait(30)
        yield from answer_at_once(images, captions)
        at_work.pop()

    stand_in.stream = stream
    found: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        found.put(send(application.test_client(), ("a.png", a_picture)))

    askers = [threading.Thread(target=ask) for _ in range(1 + module.WAITING + 1)]
    for asker in askers:
        asker.start()
    # One is at work, the others wait: the one too many is sent away, whichever it is.
    assert "try again" in line_of(found.get(timeout=30), 503)
    assert application.test_client().get("/", base_url=BASE).status_code == 200
    go_on.set()
    assert [found.get(timeout=30).status_code for _ in askers[1:]] == [200] * (1 + module.WAITING)
    assert most == [1]


def test_a_page_without_a_policy_is_not_served() -> None:
    with pytest.raises(InputError, match="run mmhash report again"):
        policy_of("<html></html>")
