"""Work beside the callers ends when it is told to, and keeps no caller waiting."""

from __future__ import annotations

import asyncio
import logging

import pytest

from runtime import background
from runtime.background import Periodic, TaskSet, finish


async def test_draining_waits_for_tasks_that_were_started_by_tasks() -> None:
    tasks, done = TaskSet(), []

    async def work(left: int) -> None:
        await asyncio.sleep(0)
        done.append(left)
        if left:
            tasks.start(work(left - 1))

    tasks.start(work(3))
    await tasks.drain()

    assert done == [3, 2, 1, 0]
    assert not tasks


async def test_the_end_of_a_task_is_told_however_it_ends() -> None:
    tasks = TaskSet()
    ended: dict[str, bool] = {}
    tasks.start(asyncio.sleep(0), lambda task: ended.update(done=task.cancelled()))
    await tasks.drain()
    tasks.start(asyncio.sleep(60), lambda task: ended.update(cancelled=task.cancelled()))
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await tasks.drain()

    assert ended == {"done": False, "cancelled": True}


async def test_a_round_that_fails_is_logged_and_not_the_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            enough.set()
        raise RuntimeError("no luck")

    periodic = Periodic("the work", work, 0)
    with caplog.at_level(logging.ERROR):
        periodic.start()
        async with asyncio.timeout(5):
            await enough.wait()
        await periodic.aclose()

    assert caplog.text.count("the work failed this time") >= 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_ends_work_that_swallows_its_cancellation() -> None:
    """As redis-py does where a connection is being made."""
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    periodic = Periodic("the work", work, 0)
    periodic.start()
    await begun.wait()
    async with asyncio.timeout(5):
        await periodic.aclose()

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "CLOSE_WITHIN_S", 0.01)
    may_end = asyncio.Event()

    async def work() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    periodic = Periodic("the work", work, 0)
    periodic.start()
    await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        await periodic.aclose()

    assert "the work did not end within 0.01 s" in caplog.text
    may_end.set()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_passes_on_the_cancellation_of_its_caller() -> None:
    may_end = asyncio.Event()

    async def work() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    periodic = Periodic("the work", work, 0)
    periodic.start()
    await asyncio.sleep(0.001)
    closing = asyncio.create_task(periodic.aclose())
    await asyncio.sleep(0.001)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    may_end.set()
    await asyncio.sleep(0.01)


async def test_what_was_never_started_closes() -> None:
    async def work() -> None:
        raise AssertionError("nobody started it")

    await Periodic("the work", work, 0).aclose()


async def test_a_step_of_closing_that_ends_in_time_is_waited_for_and_its_error_raised() -> None:
    async def fails() -> None:
        raise RuntimeError("no luck")

    assert await finish("the work", asyncio.sleep(0.001))
    with pytest.raises(RuntimeError, match="no luck"):
        await finish("the work", fails())


async def test_a_step_of_closing_is_bounded_even_if_it_loses_its_cancellation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "CLOSE_WITHIN_S", 0.01)
    may_end = asyncio.Event()

    async def loses_cancellations() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(5):
        assert not await finish("the work", asyncio.sleep(60))
        assert not await finish("the stubborn work", loses_cancellations())

    assert "the work did not end within 0.01 s" in caplog.text
    assert "the stubborn work did not end within 0.01 s of its cancellation" in caplog.text
    may_end.set()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_caller_of_a_step_of_closing_is_cancelled() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    closing = asyncio.create_task(finish("the work", work()))
    await asyncio.sleep(0.001)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    async with asyncio.timeout(5):
        await ended.wait()
