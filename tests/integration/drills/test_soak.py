"""Three minutes of load with faults: memory and open files stay, and the books hold."""

from __future__ import annotations

import random

import pytest

from tests.drills.progress import Progress
from tests.drills.rounds import run_round
from tests.drills.soak import SOAK

A_TENTH = 10


@pytest.mark.long
@pytest.mark.beside
@pytest.mark.timeout(600)
def test_memory_and_open_files_stay_while_providers_servers_and_workers_fail(
    redis_server_program: None,
) -> None:
    progress = Progress(random.getrandbits(32), A_TENTH, {})
    ((number, strikes),) = enumerate(SOAK.rounds(A_TENTH))
    done = run_round(SOAK, number, strikes, progress)
    assert strikes == 3
    assert done.wrong == []
    assert done.counts["charges received"] > 0
