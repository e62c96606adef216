"""Times as they stand in our JSON: UTC, ISO 8601, microseconds, `Z` (domain layer)."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> str:
    """The time now, such as `2026-11-24T22:10:03.123456Z`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(time: str) -> float:
    """The same time in seconds since 1970."""
    return datetime.fromisoformat(time.removesuffix("Z") + "+00:00").timestamp()


def file_stamp(time: str) -> str:
    """The same time for a file's name, such as `20261124T221003123456Z`."""
    return time.translate(str.maketrans("", "", "-:."))
