"""Deadlines, on a clock of the tests' own."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable

import pytest

from providers.pacing.deadline import Deadline
from tests.harness.virtual_time import now_s, run


async def sleep_within(deadline: Deadline, for_s: float) -> None:
    with deadline:
        await asyncio.sleep(for_s)


def test_what_takes_longer_ends_at_the_deadline() -> None:
    async def wait() -> float:
        with pytest.raises(TimeoutError):
            await sleep_within(Deadline(3), 60)
        return now_s()

    assert run(wait()) == pytest.approx(3)


def test_all_waits_of_an_execution_share_the_deadline() -> None:
    async def wait() -> float:
        deadline = Deadline(3)
        await sleep_within(deadline, 1)
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await sleep_within(deadline, 60)
        return now_s()

    assert run(wait()) == pytest.approx(3)


def test_a_deadline_that_has_passed_lets_nothing_wait_again() -> None:
    async def wait() -> float:
        deadline = Deadline(3)
        await sleep_within(deadline, 1)
        await asyncio.sleep(9)  # it passes where it bounds nothing
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await sleep_within(deadline, 60)
        return now_s()

    assert run(wait()) == pytest.approx(10)


def test_what_needs_no_wait_is_done_after_the_deadline_too() -> None:
    async def use() -> str:
        with Deadline(-1):
            return "done"

    assert run(use()) == "done"


def cancelled_by_a_caller(at_s: float, act: Callable[[], Awaitable[None]]) -> type[object]:
    """Return the kind of error that an execution ends with whose caller cancels it at a time."""

    async def cancel() -> type[object]:
        task = asyncio.ensure_future(act())
        asyncio.get_running_loop().call_at(at_s, task.cancel)
        await asyncio.wait([task])
        return asyncio.CancelledError if task.cancelled() else type(task.exception())

    return run(cancel())


@pytest.mark.parametrize("at_s", [2, 3])
def test_a_caller_that_cancels_is_not_told_of_a_time_out(at_s: float) -> None:
    async def wait() -> None:
        await sleep_within(Deadline(3), 60)

    assert cancelled_by_a_caller(at_s, wait) is asyncio.CancelledError


def test_an_error_at_the_deadline_stays_itself() -> None:
    async def wait() -> None:
        with Deadline(3):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise KeyError from None

    assert cancelled_by_a_caller(9, wait) is KeyError


def test_a_task_goes_on_uncancelled_after_its_time_out() -> None:
    async def wait() -> int:
        with pytest.raises(TimeoutError):
            await sleep_within(Deadline(3), 60)
        await asyncio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert run(wait()) == 0


def test_a_stopped_deadline_leaves_no_timer_behind() -> None:
    class Watched(Deadline):
        pass

    async def is_kept(*, stopped: bool) -> bool:
        deadline = Watched(3)
        await sleep_within(deadline, 1)
        if stopped:
            deadline.stop()
        watched = weakref.ref(deadline)
        del deadline
        return watched() is not None

    assert not run(is_kept(stopped=True))
    assert run(is_kept(stopped=False)), "only its timer could have kept it"


def test_blocks_do_not_nest() -> None:
    async def nest() -> None:
        deadline = Deadline(3)
        with deadline, deadline:
            pass

    assert cancelled_by_a_caller(9, nest) is RuntimeError
