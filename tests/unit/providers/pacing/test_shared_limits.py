"""The queue for turns that processes share, on a clock of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.pacing.queue import Bottleneck, EndpointLimit, EndpointQueues, NoTurn
from providers.pacing.rule import LocalTurns, Returned, SharedLimit, TurnRequest, TurnsGiven
from tests.harness.virtual_time import now_s, run

FOREVER_S = 1e9
ROUND_TRIP_S = 0.001


class Server:
    """Stands in for Redis: the same rule, a round trip away."""

    def __init__(self, limit: SharedLimit) -> None:
        self.turns = LocalTurns(limit, lambda: round(now_s() * 1e6))
        self.slots = limit.concurrency or 0
        self.questions = 0

    async def exchange(
        self,
        endpoint: str,
        limit: SharedLimit,
        back: Sequence[Returned],
        wanted: Sequence[TurnRequest],
    ) -> TurnsGiven:
        self.questions += 1
        await asyncio.sleep(ROUND_TRIP_S / 2)
        given = self.turns.exchange(back, wanted)
        await asyncio.sleep(ROUND_TRIP_S / 2)
        return given

    def has_all_slots(self) -> bool:
        """Return whether nobody has a slot: all of them can be taken, and are given back."""
        wanted = [TurnRequest(f"free-{number}", 1_000, 0) for number in range(self.slots)]
        given = self.turns.exchange([], wanted)
        self.turns.exchange([Returned(one.slot, True, 0) for one in wanted[: given.count]], [])
        return given.count == self.slots


class Crowd:
    """Executions of one process at one endpoint."""

    def __init__(self, shared: SharedLimit, max_concurrency: int | None = None) -> None:
        self.server = Server(shared)
        self.queues = EndpointQueues({"main": EndpointLimit(max_concurrency, shared)}, self.server)
        self.inside = self.most_inside = 0
        self.entered: list[tuple[int, float]] = []

    async def stay(
        self, who: int = 0, for_s: float = 0.0, deadline_s: float = FOREVER_S, used: bool = True
    ) -> None:
        async with self.queues.turn("main", 100, deadline_s) as turn:
            if used:
                turn.use()
            self.entered.append((who, now_s()))
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            try:
                await asyncio.sleep(for_s)
            finally:
                self.inside -= 1

    async def come(self, number: int, for_s: float = 0.0) -> None:
        await asyncio.gather(*(self.stay(who, for_s) for who in range(number)))


def test_calls_at_once_are_limited_and_come_in_order() -> None:
    async def scene() -> None:
        crowd = Crowd(SharedLimit(concurrency=3))
        await crowd.come(12, for_s=1)
        assert crowd.most_inside == 3
        assert [who for who, _ in crowd.entered] == list(range(12))
        assert now_s() == pytest.approx(4, abs=0.2)
        await crowd.queues.aclose()

    run(scene())


def test_requests_are_given_out_evenly() -> None:
    async def scene() -> None:
        crowd = Crowd(SharedLimit(requests_per_minute=600))
        await crowd.come(50 + 90)
        assert now_s() == pytest.approx(10, abs=0.5), "fifty at once, then nine a second"
        await crowd.queues.aclose()

    run(scene())


@pytest.mark.parametrize("number", [1, 30, 300])
def test_a_question_is_asked_for_all_who_wait_and_never_more_than_one_an_execution(
    number: int,
) -> None:
    async def scene() -> None:
        crowd = Crowd(SharedLimit(concurrency=1_000, requests_per_minute=1_000_000))
        await crowd.come(number, for_s=5)
        await crowd.queues.aclose()
        # One that comes when nobody else does has its slot returned by a question of its own.
        assert crowd.server.questions <= max(2, number / 5)

    run(scene())


def test_one_after_the_other_the_return_goes_with_the_next_question() -> None:
    async def scene() -> None:
        crowd = Crowd(SharedLimit(concurrency=5))
        for _ in range(50):
            await crowd.stay()
        await crowd.queues.aclose()
        assert crowd.server.questions <= 51

    run(scene())


def test_who_waits_for_others_asks_rarely_however_many_they_are() -> None:
    async def scene() -> None:
        crowd = Crowd(SharedLimit(concurrency=1))
        crowd.server.turns.exchange([], [TurnRequest("another process", 60_000, 1)])
        waiting = [crowd.stay(who, deadline_s=10) for who in range(500)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, NoTurn) for result in results)
        assert now_s() == pytest.approx(10, abs=0.1)
        assert crowd.server.questions <= 10 / 0.02
        await crowd.queues.aclose()

    run(scene())


@pytest.mark.parametrize(
    "shared, wait",
    [
        (SharedLimit(concurrency=1), Bottleneck.SLOT),
        (SharedLimit(requests_per_minute=1), Bottleneck.REQUESTS),
        (SharedLimit(tokens_per_minute=100), Bottleneck.TOKENS),
    ],
)
def test_who_has_no_turn_in_time_hears_what_it_waited_for(
    shared: SharedLimit, wait: Bottleneck
) -> None:
    async def scene() -> None:
        crowd = Crowd(shared)
        first = asyncio.create_task(crowd.stay(for_s=10))
        await asyncio.sleep(0.1)
        with pytest.raises(NoTurn) as caught:
            await crowd.stay(deadline_s=2)
        assert caught.value.bottleneck is wait
        assert now_s() == pytest.approx(2)
        await first
        await crowd.queues.aclose()

    run(scene())


def test_a_turn_without_a_request_is_given_back() -> None:
    async def scene() -> None:
        crowd = Crowd(SharedLimit(requests_per_minute=1, tokens_per_minute=100))
        for _ in range(20):
            await crowd.stay(used=False)
        assert now_s() < 10
        await crowd.queues.aclose()

    run(scene())


def test_a_retry_takes_a_turn_before_those_who_have_none_yet() -> None:
    async def scene() -> None:
        crowd = Crowd(SharedLimit(requests_per_minute=6))
        order: list[str] = []

        async def execution(name: str, retries: int) -> None:
            async with crowd.queues.turn("main", 1, FOREVER_S) as turn:
                turn.use()
                order.append(name)
                for _ in range(retries):
                    await turn.another()
                    order.append("retry")

        began = [asyncio.create_task(execution("first", retries=2))]
        await asyncio.sleep(0.1)
        began += [asyncio.create_task(execution("later", retries=0)) for _ in range(3)]
        await asyncio.gather(*began)
        assert order == ["first", "retry", "retry", "later", "later", "later"]
        assert now_s() >= 5 * 60 / 6
        await crowd.queues.aclose()

    run(scene())


def test_after_retry_after_nobody_of_this_process_comes_until_then() -> None:
    async def scene() -> None:
        queues = EndpointQueues({"main": EndpointLimit(10)})
        async with queues.turn("main", 1, FOREVER_S) as turn:
            turn.pause_endpoint(5_000)
        entered: list[float] = []

        async def execution() -> None:
            async with queues.turn("main", 1, FOREVER_S):
                entered.append(now_s())

        await asyncio.gather(*(execution() for _ in range(10)))
        assert min(entered) >= 5
        assert max(entered) <= 5 + 2.5
        assert len(set(entered)) > 2, "they don't come all at the same moment"

        async with queues.turn("other", 1, FOREVER_S) as turn:
            turn.pause_endpoint(3_000)
        with pytest.raises(NoTurn) as caught:
            async with queues.turn("other", 1, now_s() + 2):
                pass
        assert caught.value.bottleneck is Bottleneck.PAUSE

    run(scene())


def test_a_rest_that_begins_while_some_wait_for_a_shared_turn_is_theirs_too() -> None:
    async def scene() -> None:
        crowd = Crowd(SharedLimit(concurrency=1))

        async def first() -> None:
            async with crowd.queues.turn("main", 1, FOREVER_S) as turn:
                turn.use()
                await asyncio.sleep(1)
                turn.pause_endpoint(5_000)

        began = asyncio.create_task(first())
        await asyncio.sleep(0.1)
        results = await asyncio.gather(
            crowd.stay(deadline_s=3), *(crowd.stay() for _ in range(3)), return_exceptions=True
        )
        await began
        assert isinstance(results[0], NoTurn)
        assert results[0].bottleneck is Bottleneck.PAUSE
        assert results[1:] == [None] * 3
        assert min(at_s for _, at_s in crowd.entered) >= 6
        await crowd.queues.aclose()
        assert crowd.server.has_all_slots()

    run(scene())


def test_a_provider_can_not_ask_for_rest_for_a_day() -> None:
    async def scene() -> None:
        queues = EndpointQueues({})
        async with queues.turn("main", 1, FOREVER_S) as turn:
            turn.pause_endpoint(86_400_000)
            turn.pause_endpoint(10)
        async with queues.turn("main", 1, FOREVER_S):
            assert 60 <= now_s() <= 62

    run(scene())


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_a_turn_that_comes_in_the_same_moment_as_the_end_is_given_back(how: str) -> None:
    async def scene() -> None:
        crowd = Crowd(SharedLimit(concurrency=1))
        loop = asyncio.get_running_loop()
        exchange = crowd.server.exchange

        async def and_then_it_ends(*args: Any) -> TurnsGiven:
            given = await exchange(*args)
            if how == "cancelled":
                loop.call_soon(coming.cancel)
            return given

        crowd.server.exchange = and_then_it_ends  # type: ignore[method-assign,assignment]  # a spy
        deadline_s = FOREVER_S if how == "cancelled" else now_s() + ROUND_TRIP_S
        coming = asyncio.create_task(crowd.stay(deadline_s=deadline_s))
        await asyncio.gather(coming, return_exceptions=True)
        await crowd.queues.aclose()
        assert not crowd.entered
        assert crowd.server.has_all_slots()

    run(scene())


@given(
    most=st.integers(1, 3),
    visitors=st.lists(
        st.tuples(
            st.integers(0, 40),  # comes at, in tenths of a round trip
            st.integers(0, 30),  # stays for
            st.integers(0, 100) | st.just(FOREVER_S),  # waits until
            st.none() | st.integers(0, 100),  # is cancelled at
            st.booleans(),  # makes its request
        ),
        max_size=20,
    ),
)
def test_no_shared_turn_is_lost_whoever_gives_up_or_is_cancelled(
    most: int, visitors: list[tuple[int, int, float, int | None, bool]]
) -> None:
    unit_s = ROUND_TRIP_S / 10

    async def scene() -> None:
        crowd = Crowd(SharedLimit(concurrency=most, requests_per_minute=1_000_000))
        loop = asyncio.get_running_loop()

        async def come(at: int, stays: int, until: float, used: bool) -> None:
            await asyncio.sleep(at * unit_s)
            await crowd.stay(0, stays * unit_s, until * unit_s, used)

        tasks = []
        for at, stays, until, cancelled_at, used in visitors:
            task = asyncio.create_task(come(at, stays, until, used))
            tasks.append(task)
            if cancelled_at is not None:
                loop.call_at(cancelled_at * unit_s, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        await crowd.queues.aclose()

        assert crowd.most_inside <= most
        assert crowd.server.has_all_slots()
        before = len(crowd.entered)
        free = [asyncio.create_task(crowd.stay(for_s=1)) for _ in range(most + 1)]
        await asyncio.sleep(0.5)
        assert len(crowd.entered) - before == most
        await asyncio.gather(*free)
        await crowd.queues.aclose()

    run(scene())
