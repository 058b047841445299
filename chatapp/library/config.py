"""Changes one top-level line of config.toml and leaves every other line as its owner wrote it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatapp.core.errors import SettingsError
from chatapp.core.settings import read_text
from chatapp.core.whole_file import whole_file


def set_value(file: Path, key: str, value: str) -> None:
    """Set `key` to a string.

    Errors: `SettingsError` when the file is not valid TOML, `value` cannot stand in it, or it cannot be
    written.
    """
    text = read_text(file)
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}", "fix that line first") from error
    # A JSON string is a TOML basic string.
    new = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    # What looks like a line of its own may stand inside a text of several lines: then it says something else.
    changed = next((each for each in _ways(text, key, new) if _reads(each, {**before, key: value})), None)
    if changed is None:
        raise SettingsError(f"{file}: cannot set {key!r} there", f"write `{new}` into it by hand")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with whole_file(file) as part:
            part.write_text(changed, encoding="utf-8")
    except UnicodeEncodeError as error:
        raise SettingsError(
            f"{key!r} cannot be set to a text that is not UTF-8", "rename the file"
        ) from error
    except OSError as error:
        raise SettingsError(
            f"cannot write {file}: {error.strerror}", "check who owns it and its folder"
        ) from error


def _ways(text: str, key: str, new: str) -> Iterator[str]:
    """`text` with the line `new` in each place where it may belong, the likeliest first."""
    # Only a line feed ends a line of TOML; text may hold the other characters that `splitlines` knows.
    lines = text.removesuffix("\n").split("\n") if text else []
    own = re.compile(rf"\s*{re.escape(key)}\s*=")
    for at in (at for at, line in enumerate(lines) if own.match(line)):
        yield "\n".join([*lines[:at], new, *lines[at + 1 :]]) + "\n"
    # Only lines before the first table are top-level.
    tables = (at for at, line in enumerate(lines) if line.lstrip().startswith("["))
    for at in (*tables, len(lines), 0):
        yield "\n".join([*lines[:at], new, *lines[at:]]) + "\n"


def _reads(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False
