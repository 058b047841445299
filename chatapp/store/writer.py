"""Which process is writing a reply, and whether it still lives."""

from __future__ import annotations

import os
from pathlib import Path

Writer = tuple[int, str | None]
"""Process id, and when it started where the system tells (Linux): ticks since boot and the boot's id."""


def this_process() -> Writer:
    pid = os.getpid()
    return pid, _start(pid)


def is_alive(writer: Writer) -> bool:
    """Whether the process that wrote is still there; another process with the same id does not count."""
    pid, start = writer
    if start is not None and Path("/proc/self/stat").exists():
        return _start(pid) == start
    if pid == os.getpid():
        return True
    if os.name == "nt":  # os.kill would end the process there
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start(pid: int) -> str | None:
    """When process `pid` started; None where it is gone, a zombie, or the system does not say."""
    try:
        # The name in parentheses may hold anything; the state and the start time follow its last parenthesis.
        after_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        state, ticks = after_name[0], after_name[19]
    except (OSError, IndexError):
        return None
    return None if state in "ZX" else f"{ticks}@{boot}"
