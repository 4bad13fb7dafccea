"""The server of `cllm watch`: who is answered and who is not, whatever they send."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from cllm.reporting.server import MOST_REQUESTS
from tests.reporting.watching import Watch, watching
from tests.runs import config, train

HEADERS = {
    "Server": "cllm", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    train(config(folder), folder / "one")
    return folder / "one"


@pytest.fixture(scope="module")
def server(ended: Path) -> Iterator[Watch]:
    with watching(ended) as found:
        yield found


def test_whoever_has_the_address_gets_the_page(server: Watch) -> None:
    answer, text = server.ask(server.address.partition(str(server.port))[2])
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<h1>one</h1>" in text and "12 of 12" in text and "has ended: all steps are made" in text
    policy = answer.headers["Content-Security-Policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert "default-src 'none'" in policy and text.count("<script") == text.count(f'<script nonce="{nonce}">') == 1
    assert len(server.token) == 43 and nonce not in server.token


def test_the_script_is_told_only_what_it_has_not_seen(server: Watch) -> None:
    first = server.now()
    assert len(first["sections"]) == 9 and first["problem"] == "" and first["title"] == "one"
    again = server.now(first["version"])
    assert again == {**first, "sections": []}


@pytest.mark.parametrize(
    ("query", "host", "status"),
    [
        ("token={}", "127.0.0.1:{}", 200), ("token={}", "LOCALHOST:{}", 200), ("token={}", "localhost", 200),
        ("token={}", "localhost:1", 200),  # as behind ssh -L
        ("", "127.0.0.1:{}", 403), ("token=", "127.0.0.1:{}", 403), ("token={}x", "127.0.0.1:{}", 403),
        ("token={}&token={}", "127.0.0.1:{}", 403), ("token=%ff%00", "127.0.0.1:{}", 403),
        ("token={}" + "&x=1" * 9, "127.0.0.1:{}", 403), ("Token={}", "127.0.0.1:{}", 403),
        ("token={}", "attacker.example:{}", 403), ("token={}", "127.0.0.1.attacker.example", 403),
        ("token={}", "", 403), ("token={}", "127.0.0.1:{}@attacker.example", 403), ("token={}", "0.0.0.0:{}", 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/now"])
def test_who_is_answered(path: str, query: str, host: str, status: int, server: Watch) -> None:
    filled = f"{path}?{query.replace('{}', server.token)}"
    answer, text = server.ask(filled, Host=host.replace("{}", str(server.port)))
    assert answer.status == status, text
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert "Set-Cookie" not in answer.headers
    if status != 200:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8" and len(text) < 100


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_only_get_is_answered(method: str, server: Watch) -> None:
    answer, text = server.ask(f"/?token={server.token}", method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert "<h1>" not in text


@pytest.mark.parametrize("path", ["/favicon.ico", "/metrics.jsonl", "/../config.toml", "//x", "/now/"])
def test_there_is_nothing_else(path: str, server: Watch) -> None:
    assert server.ask(f"{path}?token={server.token}")[0].status == 404


@pytest.mark.parametrize(
    "sent",
    [
        b"", b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"FOO / HTTP/1.0\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.0\r\nx\r\n\r\n", b"GET /" + b"x" * 70_000 + b" HTTP/1.0\r\n\r\n",
    ],
)
def test_what_is_no_request_does_no_harm(sent: bytes, server: Watch) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    assert b"<h1>" not in answer and b"Traceback" not in answer
    assert server.now()["title"] == "one"


def test_those_who_only_connect_are_a_bounded_number(ended: Path) -> None:
    with watching(ended) as found:
        idle = [socket.create_connection(("127.0.0.1", found.port), timeout=60) for _ in range(60)]
        assert [connection.recv(1) for connection in idle[MOST_REQUESTS:]] == [b""] * (60 - MOST_REQUESTS)
        for connection in idle:
            connection.close()
        end = monotonic() + 60
        while monotonic() < end:
            with suppress(OSError):  # it has not seen yet that they have left
                assert found.now()["title"] == "one"
                return
    pytest.fail("nobody is answered any more")


def test_it_listens_on_the_loopback_address_alone(server: Watch) -> None:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [line[1] for line in lines if line[3] == "0A" and line[1].endswith(f":{server.port:04X}")] == [
        f"0100007F:{server.port:04X}"
    ]
    others = Path("/proc/net/tcp6")
    assert not others.exists() or f":{server.port:04X} " not in others.read_text()
