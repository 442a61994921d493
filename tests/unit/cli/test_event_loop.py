"""The event loop of a command: uvloop's where it is installed."""

from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from runtime.cli.ledger import run_async


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_a_command_runs_on_uvloop_where_it_is_installed() -> None:
    assert isinstance(run_async(running_loop()), uvloop.Loop)


def test_a_command_runs_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)

    assert isinstance(run_async(running_loop()), asyncio.SelectorEventLoop)


async def is_cancelled_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


def test_a_command_that_is_cancelled_was_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_async(is_cancelled_itself())
