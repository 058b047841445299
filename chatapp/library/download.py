"""Brings a file from a hub into the Hugging Face cache: goes on where it stopped, and checks what came.

The folders are huggingface_hub's (blobs by digest, snapshots that link to them, refs), so that a file is
there once for all programs.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from chatapp.core.errors import DownloadError
from chatapp.core.sanitize import one_line
from chatapp.core.size import bytes_in_words
from chatapp.library.choice import RemoteFile
from chatapp.library.hub import Hub, Unreachable, unreachable

Listener = Callable[[int, int], None]
"""Hears how many bytes are there and how many there will be."""
_CHUNK = 1 << 20
_TRIES = 5
"""Broken connections in a row, with nothing in between, until it is given up."""
_SPARE = 100_000_000
"""Bytes that stay free on the disk."""


def download(
    hub: Hub,
    repo: str,
    file: RemoteFile,
    listener: Listener = lambda done, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """The path of `file` in the cache, complete and checked; nothing is downloaded that is there already.

    Errors: `NotFound`, `DownloadError`. What came is kept, also on Ctrl+C, and the next call goes on with it.
    """
    located = hub.locate(repo, file.path)
    if located.etag != file.digest:
        raise DownloadError(
            f"{hub.host} lists {one_line(file.path, 80)} with another digest than it sends",
            "the repository may be changing: try again later",
        )
    folder = hub.settings.cache / f"models--{repo.replace('/', '--')}"
    blob = folder / "blobs" / file.digest
    try:
        blob.parent.mkdir(parents=True, exist_ok=True)
        if not (blob.is_file() and blob.stat().st_size == file.size):
            _bring(hub, repo, file, blob, listener, sleep)
        elif _digest(blob, file) != file.digest:
            blob.unlink()
            raise DownloadError(
                f"the copy of {one_line(file.name, 80)} in the cache was damaged and is removed"
            )
        return _link(folder, located.commit, file, blob)
    except OSError as error:
        raise DownloadError(
            f"{one_line(file.name, 80)} cannot be written to {folder}: {error.strerror or error}",
            "check the space and the permissions there; HF_HOME names another place",
        ) from error


def _bring(
    hub: Hub, repo: str, file: RemoteFile, blob: Path, listener: Listener, sleep: Callable[[float], None]
) -> None:
    """Download into a file beside `blob` and give it that name once it is checked."""
    partial = blob.with_name(f"{blob.name}.incomplete")
    with partial.open("ab", buffering=0) as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DownloadError(
                f"another program is downloading {one_line(file.name, 80)}", "wait until it is done"
            ) from error
        if out.tell() > file.size:
            out.truncate(0)
        missing = file.size - out.seek(0, os.SEEK_END)
        free = shutil.disk_usage(partial.parent).free
        if missing and free < missing + _SPARE:
            raise DownloadError(
                f"{bytes_in_words(missing)} are to come and {bytes_in_words(free)} are free"
                f" in {partial.parent}",
                "free some space, or name another place with HF_HOME",
            )
        _fill(hub, repo, file, out, listener, sleep)
        os.fsync(out.fileno())
        if _digest(partial, file) != file.digest:
            partial.unlink()
            raise DownloadError(
                f"what came of {one_line(file.name, 80)} is not what {hub.host} promised: its digest differs",
                "it was removed; run the same command to begin anew",
            )
        partial.replace(blob)


def _fill(
    hub: Hub,
    repo: str,
    file: RemoteFile,
    out: BinaryIO,
    listener: Listener,
    sleep: Callable[[float], None],
) -> None:
    """Append what is missing, over as many connections as it takes."""
    tries, came = 0, False
    listener(out.tell(), file.size)
    while (before := out.seek(0, os.SEEK_END)) < file.size:
        trouble = Unreachable(f"{hub.host} broke the connection")
        try:
            _append(hub, repo, file, out, before, listener)
        except Unreachable as error:
            trouble = error
        done = out.seek(0, os.SEEK_END)
        if done > before:
            came, tries = True, 0
        elif not came:
            # Nobody is there; waiting would only look like work.
            raise trouble
        else:
            tries += 1
        if done < file.size:
            if tries >= _TRIES:
                raise DownloadError(f"{trouble}; {done} of {file.size} bytes are here") from trouble
            sleep(2**tries)


def _append(hub: Hub, repo: str, file: RemoteFile, out: BinaryIO, done: int, listener: Listener) -> None:
    """Over one connection, until it ends. Errors: `Unreachable` where it breaks."""
    source, start = hub.content(repo, file.path, done)
    with source:
        if start != done:
            out.truncate(start)
            done = out.seek(start)
        while chunk := _read(source, hub.host):
            if done + len(chunk) > file.size:
                out.truncate(0)
                raise DownloadError(
                    f"more comes than the {file.size} bytes that {one_line(file.name, 80)} has",
                    "it was removed; run the same command to begin anew",
                )
            out.write(chunk)
            done += len(chunk)
            listener(done, file.size)


def _read(source: BinaryIO, host: str) -> bytes:
    """Some bytes; none at the end, which may be that of the connection."""
    try:
        return source.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(host, error) from error


def _digest(path: Path, file: RemoteFile) -> str:
    """Of the content, in the form of `file.digest`."""
    large = len(file.digest) == 64
    digest = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _link(folder: Path, commit: str, file: RemoteFile, blob: Path) -> Path:
    """Give the blob its name in the snapshot, and say which commit `main` is."""
    named = folder / "snapshots" / commit / file.path
    named.parent.mkdir(parents=True, exist_ok=True)
    if not (named.is_symlink() and named.resolve() == blob.resolve()):
        new = named.with_name(f".{named.name[:100]}.{os.getpid()}")
        new.symlink_to(os.path.relpath(blob, named.parent))
        new.replace(named)
    reference = folder / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(commit, encoding="ascii")
    return named
