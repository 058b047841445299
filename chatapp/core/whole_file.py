"""Files that are there whole or not at all, for their owner alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """The path to write to; what lies there becomes `file` at the end, and is gone where that is not reached.

    A link stays one: the file that it leads to is replaced. A pipe or a device is written to
    directly. Errors: `OSError`.
    """
    if file.exists() and not file.is_file():
        yield file
        return
    target = file.resolve()
    handle, name = tempfile.mkstemp(prefix=".chatapp-", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
