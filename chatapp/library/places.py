"""Where other programs keep GGUF files on this machine, as their own environment variables say."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

_LONGEST_SETTINGS = 1 << 20
"""Bytes of another program's settings that are read at most."""


def hugging_face_cache(environment: Mapping[str, str]) -> Path:
    """The folder of `models--OWNER--NAME`, as huggingface_hub finds it."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if set_to := environment.get(variable):
            return _path(set_to, environment)
    if home := environment.get("HF_HOME"):
        return _path(home, environment) / "hub"
    return _caches(environment) / "huggingface" / "hub"


def llama_cpp_cache(environment: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Where llama.cpp's own programs put what they download."""
    if set_to := environment.get("LLAMA_CACHE"):
        return _path(set_to, environment)
    if platform == "darwin" and not environment.get("XDG_CACHE_HOME"):
        return _home(environment) / "Library" / "Caches" / "llama.cpp"
    return _caches(environment) / "llama.cpp"


def lm_studio_folders(environment: Mapping[str, str]) -> list[Path]:
    """The folder that LM Studio's settings name, today's default and the one of older versions."""
    home = _home(environment)
    studio = home / ".lmstudio"
    pointed = _short_text(home / ".lmstudio-home-pointer").strip()
    if pointed and "\0" not in pointed:
        studio = _path(pointed, environment)
    folders = [studio / "models", home / ".cache" / "lm-studio" / "models"]
    try:
        chosen = json.loads(_short_text(studio / "settings.json") or "{}").get("downloadsFolder")
    except (ValueError, AttributeError, RecursionError):
        chosen = None
    if isinstance(chosen, str) and chosen and "\0" not in chosen:
        folders.insert(0, _path(chosen, environment))
    return folders


def ollama_folders(environment: Mapping[str, str]) -> list[Path]:
    """Folders with `manifests` and `blobs` in them: this user's, and those of the service."""
    if set_to := environment.get("OLLAMA_MODELS"):
        return [_path(set_to, environment)]
    service = (Path("/usr/share/ollama/.ollama/models"), Path("/var/lib/ollama/.ollama/models"))
    return [_home(environment) / ".ollama" / "models", *service]


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


def _caches(environment: Mapping[str, str]) -> Path:
    set_to = environment.get("XDG_CACHE_HOME")
    return _path(set_to, environment) if set_to else _home(environment) / ".cache"


def _path(text: str, environment: Mapping[str, str]) -> Path:
    """An absolute path; `~` is the home folder of `environment`."""
    if text == "~" or text.startswith("~/"):
        text = f"{_home(environment)}{text[1:]}"
    return Path(os.path.abspath(text))  # noqa: PTH100 - links stay as they are


def _short_text(file: Path) -> str:
    """What a small file says; nothing where it is not there or not small."""
    try:
        if not file.is_file() or file.stat().st_size > _LONGEST_SETTINGS:
            return ""
        return file.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
