"""Who may ask, and how much they may send: requests of every kind to a real uvicorn."""

import logging
from collections.abc import Iterator

import pytest

from support.pages import HEAD, LIMITS, LOCAL, Served, count, served
from tuner.server.guard import HEADERS, Guard, Limits


@pytest.fixture(scope="module")
def page() -> Iterator[Served]:
    with served(Guard(count, LOCAL, LIMITS)) as shown:
        yield shown


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "localhost", "LocalHost:1", "localhost.", "[::1]:7860"],
)
def test_guard_answers_to_the_names_of_this_machine(page: Served, host: str) -> None:
    origin = {"Origin": f"http://{host.lower()}", "Sec-Fetch-Site": "same-origin"}
    assert page.ask(headers={"Host": host}).status == 200
    assert page.ask("POST", headers={"Host": host, **origin}, body=b"x").body == b"/  1"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1@evil.example",
        "127.0.0.1:80@evil.example",
        "127.0.0.1:80:80",
        "127.0.0.1/evil.example",
        "127.0.0.1, evil.example",
        "127.0.0.2",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "[::]",
        "[::2]",
        "::1",
        "localhost:port",
        "xn--localhost",
        "",
    ],
)
def test_guard_refuses_other_hosts(page: Served, host: str) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS"):
        # Neither header decides anything.
        headers = {"Host": host, "X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
        answer = page.ask(method, headers=headers)
        assert answer.status == 421
        assert host == "" or host.encode() not in answer.body


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", 421),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"no request\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + 70_000 * b"x", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Content-Length: 9" + 30 * b"9" + b"\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_guard_refuses_what_is_no_proper_request(
    page: Served, head: bytes, status: int
) -> None:
    assert page.status_of(head) in {status, 400}
    assert page.ask().status == 200


OWN = "http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {"Origin": OWN}, 200),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"Origin": ""}, 403),
        ("POST", {"Origin": "file://"}, 403),
        # Other programs of this machine, under the same name or another.
        ("POST", {"Origin": "http://127.0.0.1:1"}, 403),
        ("POST", {"Origin": "http://localhost:{port}"}, 403),
        ("POST", {"Origin": OWN + ".evil.example"}, 403),
        ("GET", {"Origin": "http://evil.example"}, 403),
        ("OPTIONS", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Origin": OWN, "Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", {"Sec-Fetch-Site": "same-site"}, 403),
        ("GET", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("GET", {"Sec-Fetch-Site": "none"}, 200),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
    ],
)
def test_guard_refuses_what_pages_of_others_ask(
    page: Served, method: str, headers: dict[str, str], status: int
) -> None:
    filled = {name: value.format(port=page.port) for name, value in headers.items()}
    assert page.ask(method, headers=filled).status == status


@pytest.mark.parametrize(
    ("method", "dest", "status"),
    [("GET", "document", 200), ("GET", "iframe", 403), ("POST", "document", 403)],
)
def test_guard_lets_links_lead_to_the_page(
    page: Served, method: str, dest: str, status: int
) -> None:
    headers = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": dest,
    }
    assert page.ask(method, headers=headers).status == status


def test_guard_wants_the_token_in_the_path() -> None:
    with served(Guard(count, LOCAL, LIMITS, token="secret")) as page:
        assert page.ask(path="/secret/").body == b"/secret/ /secret 0"
        assert page.ask(path="/secret/draw.js").status == 200
        for path in (
            "/",
            "/draw.js",
            "/secret",
            "/secre/",
            "/Secret/",
            "/secret2/",
            "/%73ecre/",
        ):
            assert page.ask(path=path).status == 403, path
        assert page.ask(path="/?token=secret").status == 403


@pytest.mark.parametrize(
    "headers", [{}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}]
)
def test_guard_gives_every_answer_its_headers(page: Served, headers: dict[str, str]) -> None:
    answer = page.ask(headers=headers)
    given = {name.lower(): value for name, value in answer.headers.items()}
    assert given | HEADERS == given
    assert "server" not in given


def test_guard_refuses_a_body_that_says_it_is_too_large_unread(page: Served) -> None:
    # None of the body is sent.
    assert page.status_of(HEAD + b"Content-Length: 100001\r\n\r\n") == 413
    assert page.status_of(HEAD + b"Content-Length: 99999999999\r\n\r\n") == 413


@pytest.mark.parametrize("num_chunks", [11, 2000])
def test_guard_refuses_a_body_that_becomes_too_large(page: Served, num_chunks: int) -> None:
    # Sent to its end, as most programs do: they must be able to read the answer.
    answer = page.ask("POST", body=(bytes(10_000) for _ in range(num_chunks)))
    assert answer.status == 413
    assert b"at most 100,000 bytes" in answer.body


def test_guard_takes_a_body_of_the_size_that_is_allowed(page: Served) -> None:
    # What the tests before have sent may be held a moment longer than they read their answers.
    while page.ask("POST", body=bytes(100_000)).body != b"/  100000":
        pass
    while page.ask("POST", body=(bytes(10_000) for _ in range(10))).body != b"/  100000":
        pass


def test_guard_bounds_the_sum_of_what_it_holds(page: Served) -> None:
    head = HEAD + b"Content-Length: 100000\r\n\r\n"
    held = [page.open(head + bytes(99_000)) for _ in range(2)]
    while page.ask("POST", body=bytes(60_000)).status != 503:
        pass
    # A small request is answered meanwhile.
    assert page.ask("POST", body=bytes(10_000)).status == 200
    for connection in held:
        connection.close()
    while page.ask("POST", body=bytes(99_000)).status != 200:
        pass


def test_guard_cuts_off_a_body_that_does_not_come() -> None:
    limits = Limits(max_bytes=1000, held_bytes=1000, body_seconds=0.2)
    with served(Guard(count, LOCAL, limits)) as page:
        assert page.status_of(HEAD + b"Content-Length: 9\r\n\r\n", b"x") == 408
        assert page.status_of(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n") == 408
        # An aborted request occupies no room.
        for _ in range(5):
            page.open(HEAD + b"Content-Length: 600\r\n\r\n", bytes(500)).close()
        while page.ask("POST", body=bytes(1000)).status != 200:
            pass


def test_guard_shows_visitors_no_traceback(
    page: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = page.ask(path="/fault")
    assert (answer.status, answer.body) == (500, b"This could not be answered.")
    assert "a fault of ours" in caplog.text
