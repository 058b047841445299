"""Spans of time in words."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """`1:12`, or `1:02:05` from an hour on."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def time_left(seconds: float | None) -> str:
    """`3:05 left`; empty where it is not known."""
    return "" if seconds is None else f"{clock(seconds)} left"
