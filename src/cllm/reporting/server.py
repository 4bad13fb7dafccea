"""Serves the page of runs to browsers of this machine that know its token; it answers GET and changes nothing.

It listens on the loopback address alone, but so far every user of the machine can reach it, and so can every page that
a browser here has open. So a request needs the token, which only the address that is printed has, and has to be meant
for this machine by its header Host: a page elsewhere can give its own name the address 127.0.0.1, but not another name.
"""

from __future__ import annotations

import errno
import re
import secrets
import socketserver
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cllm.errors import UsageError
from cllm.reporting.live import Live
from cllm.reporting.livepage import live_page, news

HOST = "127.0.0.1"
NAMES = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)  # any port: ssh -L has another
MOST_REQUESTS = 32  # at a time; a browser has a few
PATIENCE = 10.0  # seconds for a request to come
HTML, JSON, TEXT = "text/html", "application/json", "text/plain"


class Server(ThreadingHTTPServer):
    """Made, it listens; `serve_forever` answers."""

    request_queue_size = MOST_REQUESTS

    def __init__(self, live: Live, port: int | None = None) -> None:
        """port: 1 to 65,535, or any that is free. UsageError where the system does not give it."""
        self.live = live
        self.token, self.nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port or 0), Handler)
        except OSError as error:
            raise _no_port(port, error) from error

    @property
    def address(self) -> str:
        """With the token: who has it can look."""
        return f"http://{HOST}:{self.server_port}/?token={self.token}"

    def server_bind(self) -> None:
        """As of every TCP server: HTTP's would ask the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if threading.active_count() > MOST_REQUESTS:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # else the browser has left
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    timeout = PATIENCE

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not NAMES.fullmatch(hosts[0]):
            self._answer(HTTPStatus.FORBIDDEN, TEXT, "This server is 127.0.0.1, and goes by no other name.\n")
        elif not secrets.compare_digest(_value(query, "token").encode(), self.server.token.encode()):
            self._answer(HTTPStatus.FORBIDDEN, TEXT, "The token is missing or another: see what cllm watch printed.\n")
        elif path == "/":
            self._answer(HTTPStatus.OK, HTML, live_page(self.server.live.view(), self.server.nonce))
        elif path == "/now":
            self._answer(HTTPStatus.OK, JSON, news(self.server.live.view(), _value(query, "seen")))
        else:
            self._answer(HTTPStatus.NOT_FOUND, TEXT, "There is nothing of this name.\n")

    def _only_get(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, "Only GET is answered.\n", ("Allow", "GET"))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _only_get

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no HTTP, or no method at all."""
        self._answer(HTTPStatus(code), TEXT, f"{HTTPStatus(code).phrase}.\n")

    def _answer(self, status: HTTPStatus, kind: str, text: str, *more: tuple[str, str]) -> None:
        content = text.encode(errors="replace")  # a folder's name need not be Unicode
        self.send_response(status)
        for name, value in (*_headers(self.server.nonce), *more):
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def version_string(self) -> str:
        return "cllm"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a browser asks every second."""


def _headers(nonce: str) -> tuple[tuple[str, str], ...]:
    """Nothing is kept, nothing is fetched from elsewhere, no script runs but ours, no other page sees this one."""
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        ("Cache-Control", "no-store"), ("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"), ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    )


def _value(query: str, name: str) -> str:
    """What a query says of a name, nothing where it does not, or says it twice."""
    try:
        values = parse_qs(query, max_num_fields=8).get(name, [])
    except ValueError:  # too many fields
        values = []
    return values[0] if len(values) == 1 else ""


def _no_port(port: int | None, error: OSError) -> UsageError:
    came = f"port {port}: {error.strerror}" if port else f"no port: {error.strerror}"
    is_taken = error.errno == errno.EADDRINUSE
    todo = "leave --port out, or choose another" + (", or end what listens there" if is_taken else "")
    return UsageError("watch", came, "a port of 127.0.0.1 that this process may listen on", todo)
