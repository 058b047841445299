"""The packages that only training needs, and how to get them."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from chatapp.core.errors import TrainingError

PACKAGES = ("torch", "transformers", "peft", "accelerate", "gguf")
_WHEELS = "https://download.pytorch.org/whl/cpu"


def require_extra() -> None:
    """Errors: `TrainingError` with the exact command, when a package is not installed."""
    if lacking := missing():
        raise TrainingError(f"training needs {', '.join(lacking)}", install_command())


def missing() -> list[str]:
    """What is not installed of it."""
    return [name for name in PACKAGES if not _there(name)]


def install_command() -> str:
    """Puts this program's train extra into the Python that runs it, torch without CUDA on Linux."""
    try:
        found = [each for each in requires("chatapp") or () if "extra == 'train'" in each.replace('"', "'")]
    except PackageNotFoundError:
        found = []
    wanted = [each.split(";")[0].strip() for each in found] or list(PACKAGES)
    wheels = ["--extra-index-url", _WHEELS] if sys.platform == "linux" else []
    return shlex.join([sys.executable, "-m", "pip", "install", *wheels, *wanted])


def _there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
