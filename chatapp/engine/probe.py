"""What was found out about llama.cpp on this machine: whether its extra buffers survive a batch.

Some builds crash on quantised weights as soon as a batch has two tokens. The first load of a quantisation on
a machine and build decodes such a batch in the child process; `client` remembers here how that went.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from chatapp.engine.cache import read_table, write_table

_FILE = "probe.json"
NOTICE = "llama.cpp's extra buffers crash on this machine and are off; prompts may be slower"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one quantisation fared on one machine with one build of llama.cpp."""

    machine: str
    build: str
    quantisation: str
    extra_buffers: bool
    """Whether they can be used."""
    reason: str = ""
    """What happened when they were, if they cannot."""

    @property
    def key(self) -> str:
        return f"{self.machine}|{self.build}|{self.quantisation}"


def read_findings(cache: Path) -> list[Finding]:
    """Everything found so far, for this and other builds; for `doctor`."""
    found: list[Finding] = []
    for entry in read_table(cache / _FILE).values():
        match entry:
            case {
                "machine": str(machine),
                "build": str(build),
                "quantisation": str(quantisation),
                "extra_buffers": bool(extra_buffers),
                "reason": str(reason),
            }:
                found.append(Finding(machine, build, quantisation, extra_buffers, reason))
    return found


def finding_for(cache: Path, quantisation: str) -> Finding | None:
    """What is known of this machine and the installed build; None: not tried yet."""
    wanted = Finding(machine(), build(), quantisation, True).key
    return next((each for each in read_findings(cache) if each.key == wanted), None)


def remember(cache: Path, quantisation: str, extra_buffers: bool, reason: str = "") -> None:
    finding = Finding(machine(), build(), quantisation, extra_buffers, reason)
    write_table(cache / _FILE, {**read_table(cache / _FILE), finding.key: asdict(finding)})


def forget(cache: Path, quantisation: str) -> None:
    """Try again at the next load: it crashed although it was thought safe."""
    table = read_table(cache / _FILE)
    if table.pop(Finding(machine(), build(), quantisation, True).key, None) is not None:
        write_table(cache / _FILE, table)


@cache
def machine() -> str:
    """The processor and what it can do, in short."""
    lines: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            lines.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    name = lines.get("model name") or platform.processor() or platform.machine()
    features = hashlib.sha256(lines.get("flags", lines.get("Features", "")).encode()).hexdigest()[:8]
    return f"{name} {features}"


def build() -> str:
    """The installed llama-cpp-python, told apart from another compilation of the same version."""
    try:
        version = importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        return "none"
    spec = importlib.util.find_spec("llama_cpp")
    folders = spec.submodule_search_locations if spec else None
    libraries = [file for folder in folders or () for file in Path(folder, "lib").glob("*ggml-cpu*")]
    compiled = max((file.stat().st_mtime_ns for file in libraries), default=0)
    return f"{version} {compiled // 1_000_000_000}"
