"""What of a request goes out, and what never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.netguard import parse_networks
from providers.errors import BadRequest, UpstreamError, WrongURL
from providers.http_requests import Server, encode
from providers.upstream import Policy, send
from providers.wire import UpstreamRequest
from tests.fakes.asking import POLICY
from tests.fakes.loops import Run
from tests.fakes.raw import RawServer, answering, whole

BASE = "http://api.example/v1"


def lines(request: UpstreamRequest) -> list[str]:
    """The request as it is sent, line by line, without the empty ones at its end."""
    _, head = encode(request)
    text = head.decode("latin-1")
    assert text.endswith("\r\n\r\n")
    return text[:-4].split("\r\n")


def test_a_request_is_what_it_was_built_as_and_what_http_wants() -> None:
    request = UpstreamRequest("POST", f"{BASE}/chat?a=b%2Fc&d", {"X-A": "b", "accept": "text/event-stream"}, b"{}")
    assert lines(request) == [
        "POST /v1/chat?a=b%2Fc&d HTTP/1.1",
        "Host: api.example",
        "X-A: b",
        "accept: text/event-stream",
        "Accept-Encoding: identity",
        "Content-Length: 2",
    ]
    assert lines(UpstreamRequest("GET", "https://api.example")) == [
        "GET / HTTP/1.1",
        "Host: api.example",
        "Accept: */*",
        "Accept-Encoding: identity",
    ]
    assert lines(UpstreamRequest("POST", BASE))[-1] == "Content-Length: 0"
    assert lines(UpstreamRequest("GET", BASE, {}, b""))[-1] == "Content-Length: 0"


@pytest.mark.parametrize(
    ("url", "server", "host"),
    [
        ("http://api.example/v1", Server(False, "api.example", 80), "api.example"),
        ("HTTPS://API.Example:443/v1", Server(True, "api.example", 443), "api.example"),
        ("https://api.example:/v1", Server(True, "api.example", 443), "api.example"),
        ("http://api.example:443/v1", Server(False, "api.example", 443), "api.example:443"),
        ("http://api.example.:8080", Server(False, "api.example.", 8080), "api.example.:8080"),
        ("http://my_host-1/", Server(False, "my_host-1", 80), "my_host-1"),
        ("http://127.0.0.1:8000/", Server(False, "127.0.0.1", 8000), "127.0.0.1:8000"),
        ("http://[::1]/", Server(False, "::1", 80), "[::1]"),
        ("https://[FD00:0::1]:8443/", Server(True, "fd00::1", 8443), "[fd00::1]:8443"),
        ("https://bücher.example/v1", Server(True, "xn--bcher-kva.example", 443), "xn--bcher-kva.example"),
        ("https://模型.example", Server(True, "xn--xgs754b.example", 443), "xn--xgs754b.example"),
    ],
)
def test_where_a_url_leads(url: str, server: Server, host: str) -> None:
    assert encode(UpstreamRequest("GET", url))[0] == server
    assert lines(UpstreamRequest("GET", url))[1] == f"Host: {host}"


def test_a_fragment_stays_here() -> None:
    assert lines(UpstreamRequest("GET", f"{BASE}?a#b?c"))[0] == "GET /v1?a HTTP/1.1"
    assert lines(UpstreamRequest("GET", f"{BASE}#b?c"))[0] == "GET /v1 HTTP/1.1"


URLS = [
    *("", "api.example", "//api.example/", "ftp://api.example/", "ws://api.example/", "http://", "http:///v1"),
    *("http://user:secret@api.example/", "http://api.example@evil.example/", "http://a\\@b/", "http://a\\b/"),
    *("http://api.example:0/", "http://api.example:65536/", "http://api.example:x/", "http://api.example:-1/"),
    *("http://api.example:80:80/", "http://[::1/", "http://::1/", "http://[::g]/", "http://[fe80::1%25eth0]/"),
    *(
        "http://a..b/",
        "http://.a/",
        "http://a b/",
        "http://a\tb/",
        "http://a%0d%0ab/",
        "http://a\r\nX: y/",
        "http://a\0/",
    ),
    *("http://a/\r\nX: y", "http://a/ HTTP/1.1\r\nX: y", "http://a/b c", "http://a/b\0", "http://a/ü", "http://a/\x7f"),
    *(
        "http://a/?b c",
        "http://a/?b\r\nX: y",
        "http://a/?ü",
        "http://a/?\0",
        "http://a\n/",
        " http://a/",
        "http://a/\n",
    ),
    *(
        "http\u017f://a/",
        "http\u017f://a:1/",
        "http://" + "a" * 300 + "/",
        "http://a,b/",
        "http://a/?a\n",
        "http://\u2100.example/",
        "http://a\u3002/\u0000",
    ),
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_is_none_goes_nowhere(url: str) -> None:
    with pytest.raises(WrongURL) as caught:
        encode(UpstreamRequest("GET", url))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


HEADERS = [
    *(("X-A", "b\r\nX: y"), ("X-A", "b\nX: y"), ("X-A", "b\r"), ("X-A", "b\0"), ("X-A", "\x7f"), ("X-A", "模型")),
    *(("X-A\r\nX", "y"), ("X A", "y"), ("X:A", "y"), ("", "y"), ("X-Ä", "y"), ("X-A\0", "y"), ("X-A\n", "y")),
    *(("Transfer-Encoding", "chunked"), ("transfer-encoding", "identity"), ("Connection", "close"), ("TE", "trailers")),
    *(("Upgrade", "h2c"), ("Expect", "100-continue"), ("Content-Length", "3"), ("content-length", "")),
    *(("Host", "evil.example"), ("HOST", ""), ("Trailer", "X"), ("Keep-Alive", "timeout=1")),
]


@pytest.mark.parametrize(("name", "value"), HEADERS)
def test_a_header_that_would_say_something_else_is_not_sent(name: str, value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        encode(UpstreamRequest("POST", BASE, {"X-Key": "sk-canary", name: value}, b"{}"))
    assert "canary" not in repr(vars(caught.value)) + str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("method", ["", "GET /", "GET\r\nX: y", "GÉT", "G ET"])
def test_a_method_that_is_none_is_not_sent(method: str) -> None:
    with pytest.raises(BadRequest):
        encode(UpstreamRequest(method, BASE))


def test_headers_of_ours_may_be_said_twice_but_are_sent_once() -> None:
    said = {"host": "api.example", "Content-Length": "2", "Accept-Encoding": "gzip", "ACCEPT": "a/b", "X-A": "café\t!"}
    sent = lines(UpstreamRequest("POST", BASE, said, b"{}"))
    assert sent[1:] == [
        "Host: api.example",
        "Accept-Encoding: gzip",
        "ACCEPT: a/b",
        "X-A: café\t!",
        "Content-Length: 2",
    ]


@given(
    st.text(max_size=12), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3), st.binary(max_size=4)
)
def test_no_text_at_all_makes_a_line_of_its_own(path: str, headers: dict[str, str], body: bytes) -> None:
    request = UpstreamRequest("POST", f"http://api.example/{path}", headers, body)
    try:
        sent = lines(request)
    except UpstreamError:
        return
    ours = {"host", "accept", "accept-encoding", "content-length"} | {name.lower() for name in headers}
    assert sent[0].split(" ")[::2] == ["POST", "HTTP/1.1"]
    assert len(sent) <= 5 + len(headers)
    assert {line.partition(":")[0].lower() for line in sent[1:]} <= ours
    assert not any(set(line) & set("\r\n\0") for line in sent)


def test_an_address_of_ipv6_is_reached(run: Run) -> None:
    async def main() -> None:
        async with RawServer(answering(whole(b"six")), host="::1") as server:
            assert (await send(UpstreamRequest("GET", server.url), POLICY)).body == b"six"
            assert f"Host: [::1]:{server.port}".encode() in server.requests[0][0]

    run(main())


def test_the_next_address_is_tried_when_one_does_not_answer(run: Run) -> None:
    async def main() -> None:
        async with RawServer(answering(whole())) as server:  # localhost is ::1 as well, where nobody listens
            policy = Policy(parse_networks(["127.0.0.0/8", "::1/128"]), connect_timeout_s=10)
            request = UpstreamRequest("GET", f"http://localhost:{server.port}/")
            assert (await send(request, policy)).status == 200

    run(main())
