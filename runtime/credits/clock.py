"""This process's clock, which is compared with the servers'."""

from __future__ import annotations

import time

MOST_APART_MS = 60_000
"""The most by which it may differ from a server's."""


def own_clock_ms() -> int:
    """Return this process's clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
