"""Rows of a file with one JSON object a line, plain or gzip. A bad line is an answer, not an error."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from chatapp.core.errors import FormatError

LONGEST_LINE = 16 * 2**20
"""Bytes."""
LARGEST_FILE = 2 * 2**30
"""Bytes of text, after decompression."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """One line that was skipped."""

    line: int
    """From 1."""
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


def read_rows(
    file: Path, longest_line: int = LONGEST_LINE, largest_file: int = LARGEST_FILE
) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
    """(line number, row or what is wrong with it) for each line that is not blank.

    Errors: `FormatError` where the file cannot be opened, is Parquet or one JSON array, or is too large.
    """
    try:
        with file.open("rb") as plain:
            start = plain.peek(4)[:4]  # a pipe cannot go back
            if start == b"PAR1":
                raise FormatError(f"{file.name} is Parquet", "convert it to one JSON object a line")
            if start[:2] == b"\x1f\x8b":
                with gzip.open(plain) as unpacked:
                    yield from _rows(file, unpacked, longest_line, largest_file)
            else:
                yield from _rows(file, plain, longest_line, largest_file)
    except OSError as error:
        raise FormatError(
            f"cannot read {file}: {error.strerror or error}", "name a file that exists"
        ) from error


def _rows(
    file: Path, stream: BinaryIO | gzip.GzipFile, longest_line: int, largest_file: int
) -> Iterator[tuple[int, dict[str, Any] | Malformed]]:
    total = number = 0
    while True:
        number += 1
        try:
            line = stream.readline(longest_line + 1)
            size = len(line)
            if size > longest_line:  # the rest of a line that is too long is passed over piece by piece
                while not line.endswith(b"\n") and (line := stream.readline(longest_line)):
                    size += len(line)
                    if total + size > largest_file:
                        break
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            yield number, Malformed(number, f"the gzip data is damaged ({error})")
            return
        if not size:
            return
        total += size
        if total > largest_file:
            raise FormatError(
                f"{file.name} holds more than {largest_file:,} bytes of text", "split it into smaller files"
            )
        if size > longest_line:
            yield number, Malformed(number, f"longer than {longest_line:,} bytes")
        elif line.strip():
            yield number, _row(file, number, line)


def _row(file: Path, number: int, line: bytes) -> dict[str, Any] | Malformed:
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError:
        return Malformed(number, "not UTF-8")
    except json.JSONDecodeError as error:
        if number == 1 and line.lstrip().startswith(b"["):
            raise _array(file) from None
        return Malformed(number, f"not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, nesting without end
        return Malformed(number, f"not usable JSON ({type(error).__name__})")
    if number == 1 and isinstance(row, list):
        raise _array(file)
    return row if isinstance(row, dict) else Malformed(number, "not a JSON object")


def _array(file: Path) -> FormatError:
    return FormatError(f"{file.name} is one JSON array", "write one object a line: jq -c '.[]'")
