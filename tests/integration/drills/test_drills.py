"""A tenth of each drill: real processes and servers are killed, and the books must hold."""

from __future__ import annotations

import random

import pytest

from tests.drills.catalog import DRILLS
from tests.drills.drill import Drill
from tests.drills.progress import Progress
from tests.drills.rounds import run_round
from tests.drills.soak import SOAK

A_TENTH = 10


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "drill", [drill for drill in DRILLS if drill is not SOAK], ids=lambda drill: drill.name
)
def test_the_books_hold_after_a_tenth_of_each_drill(
    drill: Drill, redis_server_program: None
) -> None:
    if why := drill.needs():
        pytest.skip(why)
    progress = Progress(random.getrandbits(32), A_TENTH, {})
    for number, strikes in enumerate(drill.rounds(A_TENTH)):
        done = run_round(drill, number, strikes, progress)
        assert done.wrong == []
        assert done.counts["charges received"] > 0
