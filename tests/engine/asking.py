"""Requests to a client, and what came of them."""

from __future__ import annotations

from chatapp.core.types import Sampling, Turn
from chatapp.engine.base import Gathered, Request, gather
from chatapp.engine.client import LlamaClient

ENDLESS = {"max_tokens": 8000, "top_k": 5}
"""For a model that writes until it is stopped."""


def ask(text: str = "hello", lanes: int = 1, first_lane: int = 0, **sampling: object) -> Request:
    chosen = {"max_tokens": 24, "seed": 7, **sampling}
    return Request((Turn("user", text),), Sampling(**chosen), lanes, first_lane)  # type: ignore[arg-type]


def run(client: LlamaClient, request: Request) -> Gathered:
    return gather(client.generate(request), request.lanes)


def texts(client: LlamaClient, request: Request) -> list[str]:
    return [reply.text for reply in run(client, request).replies]
