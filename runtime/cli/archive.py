"""Steps of commands that copy journals: opening Redis, the ledger and the archive, and the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from runtime.archive.archiving import Archiving
from runtime.archive.copier import Archived, Copier
from runtime.archive.forks import Stop
from runtime.archive.lag import Lag, lag_of
from runtime.archive.opening import open_archive
from runtime.archive.streams import Streams
from runtime.archive.writing import forked_accounts
from runtime.cli.failures import refusals
from runtime.cli.interruption import Interruption
from runtime.cli.ledger import run_async
from runtime.config import Config
from runtime.credits.ledger import CreditLedger
from runtime.ledger_opening import connected, open_ledger
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.database import Database, StoreError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class OpenArchive:
    """The archive, the ledger that it is about, and what copies the one into the other."""

    database: Database
    ledger: CreditLedger
    copier: Copier


@dataclass(frozen=True, slots=True)
class ArchiveStatus:
    """The archive's lag, its accounts that have forked, and why it can't be reached."""

    lag: Lag
    forked: tuple[str, ...]
    fault: str = ""


def with_archive(
    config: Config,
    ask: Callable[[OpenArchive], Awaitable[_T]],
    *,
    may_be_lost: bool = False,
) -> _T:
    """Open ledger and archive, call ``ask`` with them, close them, and return the result.

    Args:
        may_be_lost: as ``open_ledger`` has it.

    Raises:
        LedgerError: the ledger refuses the call or can't be reached.
        StoreError: the archive can't be used.
        BadInput: the input is not valid.
        KeyboardInterrupt: it was stopped; what was under way is rolled back.
    """

    async def run() -> _T:
        with Interruption():
            async with (
                _opened(config, may_be_lost=may_be_lost) as (client, ledger),
                open_archive(config, ledger.key_check) as database,
            ):
                copier = Copier(
                    database,
                    client,
                    Keys(config.redis.key_prefix),
                    timeout_ms=config.redis.timeout_ms,
                    stop=_stop_by(ledger),
                    replicas=ledger.settings.replicas,
                )
                with refusals():
                    return await ask(OpenArchive(database, ledger, copier))

    return run_async(run())


def archive_forever(
    config: Config, pause_s: float, on_round: Callable[[Archived], object], **calls: Any
) -> None:
    """Archive again and again until Ctrl-C or SIGTERM.

    Args:
        calls: ``on_progress`` and ``on_fault`` of ``Archiving``.

    Raises:
        LedgerError: Redis can't be reached at the start.
        KeyboardInterrupt: it was stopped.
    """

    async def run() -> None:
        with Interruption():
            async with _opened(config) as (client, ledger):
                archiving = Archiving(
                    config,
                    ledger.key_check,
                    client,
                    pause_s=pause_s,
                    stop=_stop_by(ledger),
                    on_round=on_round,
                    **calls,
                )
                archiving.start()
                try:
                    await asyncio.Event().wait()
                finally:
                    await archiving.aclose()

    run_async(run())


def read_status(config: Config) -> ArchiveStatus:
    """Return how the archive is. It is told too while the database can't be reached.

    Raises:
        LedgerError: Redis can't be reached.
    """

    async def run() -> ArchiveStatus:
        async with _opened(config) as (client, ledger):
            streams = Streams(client, Keys(config.redis.key_prefix), config.redis.timeout_ms)
            lag = await lag_of(client, streams)
            try:
                async with open_archive(config, ledger.key_check) as database:
                    return ArchiveStatus(lag, await forked_accounts(database))
            except StoreError as exc:
                return ArchiveStatus(lag, (), str(exc))

    return run_async(run())


@asynccontextmanager
async def _opened(
    config: Config, *, may_be_lost: bool = False
) -> AsyncIterator[tuple[Client, CreditLedger]]:
    async with (
        connected(config, None) as client,
        open_ledger(config, redis=client, may_be_lost=may_be_lost) as ledger,
    ):
        yield client, ledger


def _stop_by(ledger: CreditLedger) -> Stop:
    return lambda account_id, why: ledger.repairs.stop(account_id, why=why)
