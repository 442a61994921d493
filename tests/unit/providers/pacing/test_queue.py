"""Slots at an endpoint, on a clock of the tests' own."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.pacing.queue import EndpointLimit, EndpointQueues
from tests.harness.virtual_time import now_s, run

FOREVER_S = 1e9


class Executions:
    """Counts who is inside."""

    def __init__(self, queues: EndpointQueues, endpoint: str = "main") -> None:
        self._queues = queues
        self._endpoint = endpoint
        self.inside = 0
        self.most_inside = 0
        self.entered: list[int] = []

    async def stay(self, who: int, for_s: float, deadline_s: float = FOREVER_S) -> None:
        async with self._queues.turn(self._endpoint, 0, deadline_s):
            self.entered.append(who)
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            try:
                await asyncio.sleep(for_s)
            finally:
                self.inside -= 1

    async def free_slots(self, at_most: int) -> int:
        """Return how many may enter at once, up to ``at_most``."""
        before = len(self.entered)
        visitors = [asyncio.create_task(self.stay(-1, 1)) for _ in range(at_most)]
        await asyncio.sleep(0.5)
        free = len(self.entered) - before
        await asyncio.gather(*visitors)
        return free


def test_no_more_are_let_in_than_the_endpoint_takes() -> None:
    async def crowd() -> None:
        executions = Executions(EndpointQueues({"main": EndpointLimit(3)}))
        await asyncio.gather(*(executions.stay(who, 1) for who in range(10)))
        assert executions.most_inside == 3
        assert now_s() == pytest.approx(4)

    run(crowd())


def test_endpoints_do_not_wait_for_each_other() -> None:
    async def crowd() -> None:
        queues = EndpointQueues({"main": EndpointLimit(1), "other": EndpointLimit(1)})
        await asyncio.gather(*(Executions(queues, name).stay(0, 1) for name in ("main", "other")))
        assert now_s() == pytest.approx(1)

    run(crowd())


def test_an_endpoint_without_a_limit_lets_all_in() -> None:
    async def crowd() -> None:
        executions = Executions(EndpointQueues({"main": EndpointLimit(1)}), "unlimited")
        await asyncio.gather(*(executions.stay(who, 1) for who in range(1_000)))
        assert executions.most_inside == 1_000

    run(crowd())


def test_who_came_first_is_let_in_first() -> None:
    async def crowd() -> None:
        executions = Executions(EndpointQueues({"main": EndpointLimit(2)}))

        async def come(who: int) -> None:
            await asyncio.sleep(who / 100)
            await executions.stay(who, 1)

        await asyncio.gather(*(come(who) for who in range(20)))
        assert executions.entered == list(range(20))

    run(crowd())


def test_a_newcomer_does_not_overtake_those_who_wait() -> None:
    async def crowd() -> None:
        executions = Executions(EndpointQueues({"main": EndpointLimit(1)}))

        async def again_and_again() -> None:
            for _ in range(5):
                await executions.stay(0, 1)

        await asyncio.gather(again_and_again(), executions.stay(1, 1))
        assert executions.entered[:2] == [0, 1]

    run(crowd())


def test_waiting_ends_with_the_deadline() -> None:
    async def crowd() -> None:
        executions = Executions(EndpointQueues({"main": EndpointLimit(1)}))
        occupied = asyncio.create_task(executions.stay(0, 10))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await executions.stay(1, 1, deadline_s=2)
        assert now_s() == pytest.approx(2)
        await occupied
        assert await executions.free_slots(2) == 1

    run(crowd())


def test_the_deadline_is_for_the_wait_alone() -> None:
    async def crowd() -> None:
        executions = Executions(EndpointQueues({"main": EndpointLimit(1)}))
        await executions.stay(0, 10, deadline_s=2)
        assert now_s() == pytest.approx(10)

    run(crowd())


def test_an_error_inside_frees_the_slot() -> None:
    async def crowd() -> None:
        queues = EndpointQueues({"main": EndpointLimit(1)})
        with pytest.raises(KeyError):
            async with queues.turn("main", 0, FOREVER_S):
                raise KeyError("inside")
        assert await Executions(queues).free_slots(2) == 1

    run(crowd())


@given(
    most=st.integers(1, 4),
    visitors=st.lists(
        st.tuples(
            st.integers(0, 5),  # comes at
            st.integers(0, 4),  # stays for
            st.integers(0, 8) | st.just(FOREVER_S),  # waits until
            st.none() | st.integers(0, 10),  # is cancelled at
        ),
        max_size=25,
    ),
)
def test_no_slot_is_lost_whoever_gives_up_or_is_cancelled(
    most: int, visitors: list[tuple[int, int, float, int | None]]
) -> None:
    async def crowd() -> None:
        executions = Executions(EndpointQueues({"main": EndpointLimit(most)}))
        loop = asyncio.get_running_loop()

        async def come(at_s: int, for_s: int, deadline_s: float) -> None:
            await asyncio.sleep(at_s)
            await executions.stay(0, for_s, deadline_s)

        tasks = []
        for at_s, for_s, deadline_s, cancelled_at_s in visitors:
            task = asyncio.create_task(come(at_s, for_s, deadline_s))
            tasks.append(task)
            if cancelled_at_s is not None:
                # At whole seconds, like all else: that is where slots get lost.
                loop.call_at(cancelled_at_s, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)

        assert executions.most_inside <= most
        assert executions.inside == 0
        assert await executions.free_slots(most + 2) == most

    run(crowd())
