"""How many processes a run gets where nobody says it."""

from __future__ import annotations

import os

import pytest

from runtime.cli.sharing import processes_for


@pytest.mark.parametrize(
    "people, concurrency, processes",
    [
        (1, 32, 1),
        (3_999, 32, 1),
        (4_000, 32, 2),
        (1_000_000, 32, 4),
        (1_000_000, 7, 1),
        (1_000_000, 1_000, 16),
    ],
)
def test_a_run_gets_as_many_processes_as_it_is_worth_and_no_more_than_cores(
    monkeypatch: pytest.MonkeyPatch, people: int, concurrency: int, processes: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16))
    assert processes_for(people, concurrency) == processes
