"""Shared steps of commands that make one call to the ledger and print the result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import click

from runtime.cli.failures import refusals
from runtime.config import Config
from runtime.credits.ledger import CreditLedger
from runtime.event_loop import new_event_loop
from runtime.ledger_opening import open_ledger

_T = TypeVar("_T")


def with_ledger(config: Config, ask: Callable[[CreditLedger], Awaitable[_T]]) -> _T:
    """Open the configured ledger, call ``ask`` with it, close it, and return the result.

    Raises:
        LedgerError: the ledger refuses the call or can't be reached.
        BadInput: the input is not valid.
    """

    async def run() -> _T:
        async with open_ledger(config) as ledger:
            with refusals():
                return await ask(ledger)

    return run_async(run())


def run_async(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end, on uvloop's event loop where that is installed.

    Raises:
        KeyboardInterrupt: the coroutine was cancelled; here only Ctrl-C and SIGTERM do that.
    """
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(work)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def print_json(found: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(found, ensure_ascii=False))
