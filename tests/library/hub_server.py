"""A hub on this machine that answers as the Hugging Face Hub does: one server for the repository, one for the
files that it redirects to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "owner/Tiny-GGUF"
_PAGE = 2


@dataclass
class FakeHub:
    """What is served, how badly, and what was asked for."""

    files: dict[str, bytes]
    """Path in the repository -> content."""
    gated: str | None = None
    """The token that opens it; None: open to all."""
    cut: list[int] = field(default_factory=list)
    """After how many bytes each of the next connections breaks."""
    ranges: bool = True
    altered: bool = False
    """Send other bytes than were promised."""
    listing: Any = None
    """Sent instead of the listing."""
    location: str | None = None
    """Where the redirect leads instead."""
    requests: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)
    """Server (hub or files), method, path, headers in small letters."""
    endpoint: str = ""
    files_endpoint: str = ""

    @property
    def sent(self) -> list[str]:
        """The ranges that content was asked for."""
        return [headers.get("range", "all") for server, *_, headers in self.requests if server == "files"]


@contextmanager
def serving(files: dict[str, bytes], **more: Any) -> Iterator[FakeHub]:
    hub = FakeHub(files, **more)
    servers = [_server(hub, _HubHandler), _server(hub, _FilesHandler)]
    hub.endpoint, hub.files_endpoint = (f"http://127.0.0.1:{each.server_address[1]}" for each in servers)
    try:
        yield hub
    finally:
        for each in servers:
            each.shutdown()
            each.server_close()


def _server(hub: FakeHub, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    server_name = ""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.hub.requests.append((self.server_name, self.command, self.path, headers))
        self.serve(urlsplit(self.path), headers)

    do_HEAD = do_GET  # noqa: N815

    def serve(self, url: Any, headers: dict[str, str]) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _HubHandler(_Handler):
    server_name = "hub"

    def serve(self, url: Any, headers: dict[str, str]) -> None:
        hub = self.hub
        if url.path not in (f"/api/models/{REPO}/tree/main",) and not url.path.startswith(
            f"/{REPO}/resolve/"
        ):
            # As the real one: without a token, a repository that is not there looks like a private one.
            return self.answer(404 if "authorization" in headers else 401, X_Error_Code="RepoNotFound")
        if hub.gated is not None and headers.get("authorization") != f"Bearer {hub.gated}":
            return self.answer(403 if "authorization" in headers else 401, X_Error_Code="GatedRepo")
        if url.path.startswith("/api/"):
            return self.tree(url)
        path = unquote(url.path.removeprefix(f"/{REPO}/resolve/main/"))
        if path not in hub.files:
            return self.answer(404, X_Error_Code="EntryNotFound")
        content = hub.files[path]
        self.answer(
            302,
            X_Repo_Commit=COMMIT,
            X_Linked_Etag=f'"{hashlib.sha256(content).hexdigest()}"',
            X_Linked_Size=str(len(content)),
            ETag='"of the redirect"',
            Location=hub.location or f"{hub.files_endpoint}/{url.path.rpartition('/')[2]}?signature=1",
        )

    def tree(self, url: Any) -> None:
        hub = self.hub
        if hub.listing is not None:
            return self.answer(200, json.dumps(hub.listing).encode())
        begin = int(parse_qs(url.query).get("cursor", ["0"])[0])
        entries: list[dict[str, Any]] = [{"type": "directory", "path": "sub", "oid": "0" * 40, "size": 0}]
        for path, content in hub.files.items():
            large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            entries.append(
                {"type": "file", "path": path, "oid": "1" * 40, "size": len(content), "lfs": large}
            )
        more = {}
        if begin + _PAGE < len(entries):
            following = f"{hub.endpoint}{url.path}?recursive=true&cursor={begin + _PAGE}"
            more["Link"] = f'<{following}>; rel="next"'
        self.answer(200, json.dumps(entries[begin : begin + _PAGE]).encode(), **more)


class _FilesHandler(_Handler):
    server_name = "files"

    def serve(self, url: Any, headers: dict[str, str]) -> None:
        hub = self.hub
        name = unquote(url.path.lstrip("/"))
        content = next(each for path, each in hub.files.items() if path.endswith(name))
        if hub.altered:
            content = bytes([content[0] ^ 1]) + content[1:]
        begin = re.fullmatch(r"bytes=(\d+)-", headers.get("range", "")) if hub.ranges else None
        start = int(begin[1]) if begin else 0
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", '"of the storage"')
        self.end_headers()
        if self.command == "HEAD":
            return
        end = start + hub.cut.pop(0) if hub.cut else len(content)
        self.wfile.write(content[start:end])
        if end < len(content):
            self.wfile.flush()
            self.connection.close()
