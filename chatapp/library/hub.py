"""Asks a Hugging Face style hub for a repository's files and their content. Standard library only.

huggingface_hub is not used: its 2.x throws a half download away instead of going on with it, and it tells the
hub about this machine (Python, torch, the program that runs it). Requests from here carry the name of this
program, and the token of HF_TOKEN to the hub itself, never to where it sends us for the file.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any, BinaryIO
from urllib.parse import quote, urljoin, urlsplit

from chatapp.core.errors import ChatappError, DownloadError, NotFound
from chatapp.core.sanitize import one_line
from chatapp.library.choice import RemoteFile
from chatapp.library.hub_settings import HubSettings
from chatapp.library.wanted import is_plain_path

_SECONDS = 30.0
"""How long the other side may be silent."""
_MOST_HOPS = 6
_MOST_PAGES = 50
_MOST_BYTES = 16 << 20
"""Of one page of a listing."""
_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REDIRECTS = (301, 302, 303, 307, 308)


class Unreachable(DownloadError):
    """No connection, or one that broke. Trying again may help."""

    hint = (
        "check the connection; HF_ENDPOINT names another hub, "
        "and `chatapp models discover` shows what is on this machine already"
    )


@dataclass(frozen=True, slots=True)
class Located:
    """What the hub says of a file before it is downloaded."""

    commit: str
    etag: str


class Hub:
    """`contacted` hears of each host before the first request to it."""

    def __init__(self, settings: HubSettings, contacted: Callable[[str], None] = lambda host: None) -> None:
        self.settings = settings
        self.host = urlsplit(settings.endpoint).netloc.rpartition("@")[2]
        self._contacted = contacted
        self._known: set[str] = set()
        self._opener = urllib.request.build_opener(_NoRedirects)

    def files(self, repo: str) -> list[RemoteFile]:
        """All files of the main revision. Errors: `NotFound`, `DownloadError`."""
        url: str | None = f"{self.settings.endpoint}/api/models/{repo}/tree/main?recursive=true"
        listed: list[RemoteFile] = []
        for _ in range(_MOST_PAGES):
            assert url is not None
            answer = self._open(url, repo)
            with answer:
                page = _json(answer, self.host)
            listed += [file for each in page if (file := _remote(each)) is not None]
            url = self._next_page(answer.headers, url)
            if url is None:
                return listed
        raise DownloadError(f"{self.host} lists too many files in {repo}", "name another repository")

    def locate(self, repo: str, path: str) -> Located:
        """Errors: `NotFound`, `DownloadError`."""
        answer = self._open(self._address(repo, path), repo, "HEAD", until_linked=True)
        answer.close()
        headers = answer.headers
        etag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
        etag = etag.removeprefix("W/").strip('"')
        commit = headers.get("X-Repo-Commit") or ""
        if not re.fullmatch("[0-9a-f]{40}", commit) or not etag:
            raise DownloadError(
                f"{self.host} does not answer like a hub: no commit or ETag for {one_line(path, 80)}",
                "check HF_ENDPOINT and the proxy settings",
            )
        return Located(commit, etag)

    def content(self, repo: str, path: str, start: int) -> tuple[BinaryIO, int]:
        """The file's bytes from `start`, and where they start: 0 where the other side cannot go on.

        Close it. Errors: `NotFound`, `DownloadError`.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = self._open(self._address(repo, path), repo, headers=headers)
        if answer.status != 206:
            return answer, 0
        begins = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
        if begins is None or int(begins[1]) != start:
            answer.close()
            raise DownloadError(f"{self.host} sends another part of the file than was asked for")
        return answer, start

    def _address(self, repo: str, path: str) -> str:
        return f"{self.settings.endpoint}/{repo}/resolve/main/{quote(path)}"

    def _next_page(self, headers: Message, url: str) -> str | None:
        """The address in `Link: <…>; rel="next"`, at this hub also where a mirror names the one it copies."""
        match = re.search(r'<([^<>]+)>;\s*rel="next"', headers.get("Link") or "")
        if match is None:
            return None
        there = _redirected(url, match[1])
        if _origin(there) == _origin(url):
            return there
        parts = urlsplit(there)
        return f"{self.settings.endpoint}{parts.path}?{parts.query}"

    def _open(
        self,
        url: str,
        repo: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        until_linked: bool = False,
    ) -> Any:
        """The answer at the end of the redirects, or with `until_linked` the one that tells of the file."""
        if self.settings.offline:
            raise DownloadError(
                "HF_HUB_OFFLINE is set, nothing is downloaded",
                "unset it, or see what is here already: `chatapp models discover`",
            )
        for _ in range(_MOST_HOPS):
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2]
            request = urllib.request.Request(url, method=method, headers=dict(headers or {}))
            request.add_header("User-Agent", "chatapp")
            request.add_header("Accept-Encoding", "identity")
            if self.settings.token and _origin(url) == _origin(self.settings.endpoint):
                request.add_header("Authorization", f"Bearer {self.settings.token}")
            if host not in self._known:
                self._known.add(host)
                self._contacted(host)
            try:
                return self._opener.open(request, timeout=_SECONDS)
            except urllib.error.HTTPError as error:
                target = error.headers.get("Location")
                if error.code not in _REDIRECTS or not target:
                    error.close()
                    raise self._refusal(error.code, error.headers, repo, host) from error
                if until_linked and error.headers.get("X-Linked-Etag"):
                    return error
                error.close()
                url = _redirected(url, target)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise unreachable(host, error) from error
        raise DownloadError(f"{self.host} redirects in circles", "try again later")

    def _refusal(self, code: int, headers: Message, repo: str, host: str) -> ChatappError:
        """An answer that is an error, in a line."""
        said = headers.get("X-Error-Code", "")
        page = f"{self.settings.endpoint}/{repo}"
        if host != self.host:
            return DownloadError(f"{one_line(host, 80)} answers {code} for a file of {repo}")
        if said == "GatedRepo" or code == 403:
            own = "has" if self.settings.token else "has, and set HF_TOKEN to it"
            return DownloadError(
                f"{repo} is gated: {self.host} gives it only to accounts that were let in ({code})",
                f"ask for access at {page} with the account that your token {own}",
            )
        if code == 401 and self.settings.token:
            return DownloadError(
                f"{self.host} does not let the token in HF_TOKEN see {repo} (401)",
                "check the name; make a new token on the hub's settings page, or unset HF_TOKEN",
            )
        if code in (401, 404):
            if said == "EntryNotFound":
                return NotFound(f"{repo} on {self.host} has no such file", f"see {page}")
            private = "" if self.settings.token else "; a private one needs a token in HF_TOKEN"
            return NotFound(f"there is no {repo} on {self.host} ({code})", f"check owner and name{private}")
        if code == 429:
            return DownloadError(f"{self.host} has had too many requests (429)", "wait some minutes")
        return (
            Unreachable(f"{self.host} answers {code}")
            if code >= 500
            else DownloadError(f"{self.host} answers {code} for {repo}", f"see {page}")
        )


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """They are followed by hand, since the token must not follow them."""

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
    ) -> None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def unreachable(host: str, error: Exception) -> Unreachable:
    """What went wrong with a connection, in a line."""
    reason: object = error.reason if isinstance(error, urllib.error.URLError) else error
    host = one_line(host, 80)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Unreachable(
            f"{host} shows a certificate that is not trusted here: {reason.verify_message}",
            "check the clock and the proxy; SSL_CERT_FILE names a file of trusted certificates",
        )
    if isinstance(reason, socket.gaierror):
        said = "its name is not known here"
    elif isinstance(reason, TimeoutError):
        said = f"no answer in {_SECONDS:.0f} seconds"
    elif isinstance(reason, OSError) and reason.strerror:
        said = reason.strerror.lower()
    else:
        said = one_line(str(reason), 120) or type(reason).__name__
    return Unreachable(f"{host} cannot be reached: {said}")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _redirected(url: str, target: str) -> str:
    """Where a redirect leads. Errors: `DownloadError` for a place that is no web server, or less safe."""
    try:
        there = urljoin(url, target)
        parts = urlsplit(there)
        safe = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        safe, there, parts = False, "", urlsplit("")
    weaker = urlsplit(url).scheme == "https" and parts.scheme != "https"
    if not safe or parts.scheme not in ("http", "https") or weaker:
        raise DownloadError(
            f"{urlsplit(url).hostname} redirects to {one_line(target, 60)!r}, which is not followed",
            "check HF_ENDPOINT",
        )
    return there


def _json(answer: Any, host: str) -> list[Any]:
    try:
        text = answer.read(_MOST_BYTES + 1)
        page = json.loads(text) if len(text) <= _MOST_BYTES else None
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(host, error) from error
    except (ValueError, RecursionError):
        page = None
    if not isinstance(page, list):
        raise DownloadError(f"{host} does not answer like a hub", "check HF_ENDPOINT and the proxy settings")
    return page


def _remote(entry: Any) -> RemoteFile | None:
    """A line of the listing; None for folders and for what makes no sense."""
    match entry:
        case {"type": "file", "path": str(path), "lfs": {"oid": str(digest), "size": int(size)}}:
            digest = digest.removeprefix("sha256:")
        case {"type": "file", "path": str(path), "oid": str(digest), "size": int(size)}:
            pass
        case _:
            return None
    if size < 0 or not _HEX.fullmatch(digest) or not is_plain_path(path):
        return None
    return RemoteFile(path, size, digest)
