"""What grows is told from what only moves."""

from __future__ import annotations

import os
import random

import pytest

from tests.drills.steadiness import Sample, Trend, look

MINUTES = 3


def samples(kb_a_minute: float = 0, descriptors_a_minute: float = 0) -> list[Sample]:
    """A process that warms up, whose memory and open files move, with a burst now and then."""
    chance = random.Random(1)
    found = []
    for second in range(60 * MINUTES):
        minutes = second / 60
        memory_kb = 120_000 + 30_000 * min(1.0, second / 20) + chance.randint(-800, 800)
        burst = 40_000 if second % 25 == 0 else 0
        descriptors = 30 + chance.randint(-2, 2) + (20 if burst else 0)
        found.append(
            Sample(
                1_000.0 + second,
                round(memory_kb + burst + kb_a_minute * minutes),
                round(descriptors + descriptors_a_minute * minutes),
            )
        )
    return found


def test_what_warms_up_and_moves_does_not_grow() -> None:
    trend = Trend.of(samples())
    assert trend.growth() == []
    assert trend.minutes == pytest.approx(0.7 * MINUTES, abs=0.05)
    assert abs(trend.memory_kb_a_minute) < 300
    assert abs(trend.descriptors_a_minute) < 0.5


def test_a_leak_of_memory_is_told_with_its_size() -> None:
    (told,) = Trend.of(samples(kb_a_minute=6_000)).growth()
    assert told.startswith("memory grew by 12,")


def test_a_connection_that_is_left_open_every_half_minute_is_told() -> None:
    (told,) = Trend.of(samples(descriptors_a_minute=2)).growth()
    assert "more open files" in told


def test_a_process_is_looked_at() -> None:
    sample = look(os.getpid())
    assert sample is not None
    assert sample.memory_kb > 1_000
    assert sample.descriptors > 2
    assert look(2**30) is None
