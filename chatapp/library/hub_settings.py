"""Which hub is asked, as whom, and where its files go, as huggingface_hub's own environment variables say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from chatapp.core.errors import SettingsError
from chatapp.library.places import hugging_face_cache

_ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class HubSettings:
    endpoint: str
    """Scheme and host, without a slash at the end."""
    token: str | None
    cache: Path
    """The folder of `models--OWNER--NAME`."""
    offline: bool = False

    @classmethod
    def found(cls, environment: Mapping[str, str]) -> HubSettings:
        """What HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE say. Errors: `SettingsError`."""
        endpoint = (environment.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")
        try:
            parts = urlsplit(endpoint)
            sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
        except ValueError:
            sound = False
        if not sound or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
            raise SettingsError(
                f"HF_ENDPOINT is {endpoint[:80]!r}, not the address of a hub", f"as in {_ENDPOINT}"
            )
        token = environment.get("HF_TOKEN", "").strip()
        if not token.isascii() or not token.isprintable() or " " in token:
            raise SettingsError("HF_TOKEN is not a token", "copy it again from the hub's settings page")
        offline = environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
        return cls(endpoint, token or None, hugging_face_cache(environment), offline)
