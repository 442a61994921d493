"""The number of processes that share a run, where nobody says it."""

from __future__ import annotations

import os

_PEOPLE_A_PROCESS = 2_000
"""With fewer, a process takes longer to start than it saves."""
_EXECUTIONS_A_PROCESS = 8
"""With fewer at once, a process mostly waits, and one could have done the work of several."""


def processes_for(people: int, concurrency: int) -> int:
    """Return how many processes a run of so many people is worth: one a core at most."""
    by_size = min(people // _PEOPLE_A_PROCESS, concurrency // _EXECUTIONS_A_PROCESS)
    return max(1, min(_cores(), by_size))


def _cores() -> int:
    """Return the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux tells
        return os.cpu_count() or 1
