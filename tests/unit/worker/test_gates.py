"""Bounds on what runs at once, and whose turn it is."""

from __future__ import annotations

import asyncio

from runtime.worker.gates import Gate, Gates, Shares


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_no_more_run_at_an_endpoint_than_its_limit_and_one_account_gets_less() -> None:
    gate = Gate(4, 3)
    entering = [asyncio.create_task(gate.enter("large")) for _ in range(10)]
    await settle()
    assert sum(task.done() for task in entering) == gate.in_flight == 3
    await asyncio.wait_for(gate.enter("small"), 1)
    late = asyncio.create_task(gate.enter("small"))
    await settle()
    assert (gate.in_flight, late.done()) == (4, False)
    for task in (*entering, late):
        task.cancel()


async def test_places_that_become_free_go_to_the_accounts_in_turn() -> None:
    gate = Gate(1, 1)
    await gate.enter("first")
    served: list[str] = []

    async def enter(account_id: str) -> None:
        await gate.enter(account_id)
        served.append(account_id)

    waiting = [asyncio.create_task(enter("large")) for _ in range(4)]
    await settle()
    waiting += [asyncio.create_task(enter("small")) for _ in range(2)]
    await settle()
    gate.leave("first")
    while len(served) < 6:
        await settle()
        gate.leave(served[-1])
    assert served == ["large", "small", "large", "small", "large", "large"]


async def test_who_is_cancelled_while_waiting_takes_no_place() -> None:
    gate = Gate(1, 1)
    await gate.enter("one")
    waiting = asyncio.create_task(gate.enter("two"))
    await settle()
    waiting.cancel()
    await settle()
    gate.leave("one")
    await asyncio.wait_for(gate.enter("three"), 1)
    gate.leave("three")
    assert gate.in_flight == 0


async def test_a_place_that_becomes_free_in_the_turn_of_a_cancellation_goes_to_the_next() -> None:
    gate = Gate(1, 1)
    await gate.enter("one")
    waiting = asyncio.create_task(gate.enter("two"))
    next_one = asyncio.create_task(gate.enter("two"))
    await settle()
    waiting.cancel()
    gate.leave("one")  # before the task that is cancelled hears of it
    await asyncio.wait_for(next_one, 1)
    gate.leave("two")
    assert (gate.in_flight, waiting.cancelled()) == (0, True)


async def test_who_is_cancelled_as_the_place_comes_gives_it_back() -> None:
    gate = Gate(1, 1)
    await gate.enter("one")
    waiting = asyncio.create_task(gate.enter("two"))
    await settle()
    gate.leave("one")
    waiting.cancel()
    await asyncio.wait([waiting])
    assert gate.in_flight == 0


async def test_a_higher_limit_lets_those_in_who_wait() -> None:
    gates = Gates(lambda endpoint: 1, slice_size=32)
    gate = gates.of("mock")
    await gate.enter("one")
    waiting = asyncio.create_task(gate.enter("one"))
    await settle()
    gates.reload(lambda endpoint: 8)
    await asyncio.wait_for(waiting, 1)
    assert gates.of("mock") is gate


def test_a_process_keeps_one_slice_free_for_other_accounts() -> None:
    shares = Shares(3)
    with shares.slice_of("large") as first, shares.slice_of("large") as second:
        assert (first, second) == (True, True)
        with shares.slice_of("large") as third, shares.slice_of("small") as other:
            assert (third, other) == (False, True)
    with shares.slice_of("large") as again:
        assert again
