"""Changes one top-level line of config.toml and leaves every other line as its owner wrote it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from chatapp.core.errors import SettingsError
from chatapp.core.settings import read_text
from chatapp.core.whole_file import whole_file


def set_value(file: Path, key: str, value: str) -> None:
    """Set `key` to a string.

    Errors: `SettingsError` when the file is not valid TOML before or after, or cannot be written.
    """
    text = read_text(file)
    # Only a line feed ends a line of TOML; text may hold the other characters that `splitlines` knows.
    lines = text.removesuffix("\n").split("\n") if text else []
    # Only lines before the first table are top-level.
    end = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    # A JSON string is a TOML basic string; what else could go wrong is caught by reading the result.
    new = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    own = re.compile(rf"\s*{re.escape(key)}\s*=")
    at = next((at for at, line in enumerate(lines[:end]) if own.match(line)), None)
    if at is None:
        lines.insert(end, new)
    else:
        lines[at] = new
    changed = "\n".join(lines) + "\n"
    try:
        if text:
            tomllib.loads(text)
        if tomllib.loads(changed).get(key) != value:
            raise SettingsError(f"{file}: cannot set {key!r} there", f"write `{new}` into it by hand")
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}", "fix that line first") from error
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with whole_file(file) as part:
            part.write_text(changed, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"cannot write {file}: {error.strerror}", "check who owns it and its folder"
        ) from error
