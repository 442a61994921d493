"""A process that archives until it is ended, and goes on through whatever is away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from sqlalchemy import Engine, event

from runtime.archive.streams import Streams
from runtime.credits.results import LedgerUnavailable
from runtime.store.database import StoreError
from tests.drills.journals import books_of
from tests.drills.plan import Lines, Plan
from tests.drills.processes import Processes
from tests.drills.worker import begin

_PAUSE_S = 0.05


class Archivers(Processes):
    """The processes that archive."""

    def __init__(
        self, plan: Plan, count: int, entry: Callable[[str, int], None] | None = None
    ) -> None:
        super().__init__(plan, count, entry or run, plan.archiver_errors)


def run_to_statement(plan_text: str, last: int) -> None:
    """Be an archiver that archives once, and is killed when it comes to its step of that number.

    A step is the moment before or after a statement, a commit, or the trimming of journals.
    """
    plan = Plan.from_json(plan_text)
    begin(plan.archiver_errors(last))
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(Engine, name, step)
    for owner, names in (
        (Streams, ("trim",)),
        (asyncpg.Connection, ("fetch", "execute", "copy_records_to_table")),
    ):
        for name in names:
            setattr(owner, name, _with_steps(getattr(owner, name), step))
    asyncio.run(_archive_once(plan, Lines(plan.archived(last))))


def _with_steps(
    function: Callable[..., Awaitable[Any]], step: Callable[[], None]
) -> Callable[..., Awaitable[Any]]:
    async def with_steps(*args: Any, **named: Any) -> Any:
        step()
        try:
            return await function(*args, **named)
        finally:
            step()

    return with_steps


async def _archive_once(plan: Plan, lines: Lines) -> None:
    async with books_of(plan) as books:
        lines.write((await books.copier.run_once()).entries)


def run(plan_text: str, number: int) -> None:
    """Be an archiver: the entry of the process."""
    plan = Plan.from_json(plan_text)
    begin(plan.archiver_errors(number))
    asyncio.run(_archive(plan, Lines(plan.archived(number))))


async def _archive(plan: Plan, lines: Lines) -> None:
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    while not end.is_set():
        try:
            async with books_of(plan) as books:
                while not end.is_set():
                    archived = await books.copier.run_once()
                    lines.write(archived.entries)
                    await asyncio.sleep(_PAUSE_S)
        except (LedgerUnavailable, StoreError) as error:
            sys.stderr.write(f"away: {error}\n")
            await asyncio.sleep(_PAUSE_S)
