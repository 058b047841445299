"""What `models pull` is asked for: a repository of a hub, and perhaps which of its files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chatapp.core.errors import UsageError

_SITES = ("https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/", "hf://")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_QUANTISATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,38}[A-Za-z0-9])?")
_LONGEST = 1000
_HINT = "give OWNER/NAME, OWNER/NAME:Q4_K_M or OWNER/NAME/FILE.gguf"


@dataclass(frozen=True, slots=True)
class Wanted:
    """`str` gives the form that `read_wanted` reads."""

    repo: str
    """OWNER/NAME."""
    quantisation: str | None = None
    """In capitals; None leaves the choice open."""
    file: str | None = None
    """Path of a file in the repository; then `quantisation` is None."""

    def __str__(self) -> str:
        if self.file is not None:
            return f"{self.repo}/{self.file}"
        return self.repo if self.quantisation is None else f"{self.repo}:{self.quantisation}"


def read_wanted(text: str) -> Wanted:
    """Read `OWNER/NAME`, with `:QUANT`, `:FILE` or `/FILE` after it, or an address of the hub's site.

    Errors: `UsageError`. What is returned holds no `..`, no control character and nothing that leaves the
    repository.
    """
    rest = text.strip()
    site = next((each for each in _SITES if rest.lower().startswith(each)), None)
    if site is not None:
        rest = rest[len(site) :].split("?")[0].split("#")[0].rstrip("/")
    if len(rest) > _LONGEST or "://" in rest:
        raise UsageError(f"{text[:80]!r} is not a repository of a hub", _HINT)
    owner, slash, rest = rest.partition("/")
    end = min((at for at in map(rest.find, ":/") if at >= 0), default=len(rest))
    name, mark, rest = rest[:end], rest[end : end + 1], rest[end + 1 :]
    if not (slash and _is_name(owner) and _is_name(name)) or (mark and not rest):
        raise UsageError(f"{text[:80]!r} is not a repository of a hub", _HINT)
    repo = f"{owner}/{name}"
    if site is not None and mark == "/":
        page, _, below = rest.partition("/")
        if page in ("resolve", "blob", "tree"):
            revision, _, rest = below.partition("/")
            if revision != "main":
                raise UsageError(f"only the main revision can be pulled, not {revision[:40]!r}", _HINT)
            if not rest:
                return Wanted(repo)
    if not mark:
        return Wanted(repo)
    if rest.lower().endswith(".gguf"):
        return Wanted(repo, file=_file(rest))
    if mark == ":" and _QUANTISATION.fullmatch(rest):
        return Wanted(repo, rest.upper())
    what = "a quantisation" if mark == ":" else "a GGUF file"
    raise UsageError(f"{rest[:80]!r} is not the name of {what}", _HINT)


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and "--" not in text and ".." not in text


def _file(text: str) -> str:
    if is_plain_path(text):
        return text
    raise UsageError(f"{text[:80]!r} is not a file of a repository", _HINT)


def is_plain_path(text: str) -> bool:
    """Whether this is a relative path that stays inside the folder it is put in."""
    parts = text.split("/")
    return (
        len(text) <= _LONGEST
        and text.isprintable()
        and "\\" not in text
        and all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
    )
