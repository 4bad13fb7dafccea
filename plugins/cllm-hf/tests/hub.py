"""A Hub of a few files on this machine: as much of its protocol as both libraries ask for, for tests."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

COMMIT = "a" * 40


class Hub:
    """Repositories by their path, as "datasets/owner/name" or "models/owner/name"; `requests` are those that came."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                hub.requests.append(f"{self.command} {self.path}")
                status, body, headers = hub.answer(self.path.partition("?")[0], sent)
                self.send_response(status)
                for key, value in {**headers, "X-Repo-Commit": COMMIT, "Content-Length": str(len(body))}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str, sent: str) -> tuple[int, bytes, dict[str, str]]:
        for repository, files in self.repositories.items():
            place = repository.removeprefix("models/")
            if path.startswith((f"/{place}/resolve/{COMMIT}/", f"/{place}/resolve/main/")):
                content = files.get(path.rpartition("/")[2])
                if content is None:
                    return 404, b"", {"X-Error-Code": "EntryNotFound"}
                return 200, content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
            if path.startswith(f"/api/{repository}"):
                return 200, json.dumps(self._told(repository, path, sent)).encode(), {}
        return 404, b"{}", {"X-Error-Code": "RepoNotFound"}

    def _told(self, repository: str, path: str, sent: str) -> object:
        files = self.repositories[repository]
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in files.items()
        ]
        if "/tree/" in path:
            return entries
        if "/paths-info/" in path:
            wanted = json.loads(sent)["paths"] if sent.startswith("{") else parse_qs(sent).get("paths", [])
            return [entry for entry in entries if entry["path"] in wanted]
        siblings = [{"rfilename": name} for name in files]
        return {"id": repository.partition("/")[2], "sha": COMMIT, "siblings": siblings, "private": False}
