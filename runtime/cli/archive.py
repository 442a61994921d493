"""Opens what commands need that copy or repair the archive: Redis, the ledger and the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from runtime.archive.copier import Copier
from runtime.archive.opening import open_archive
from runtime.cli.failures import refusals
from runtime.cli.ledger import run_async
from runtime.config import Config
from runtime.credits.ledger import CreditLedger
from runtime.ledger_opening import connected, open_ledger
from runtime.redis.keys import Keys
from runtime.store.database import Database

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class OpenArchive:
    """The archive, the ledger that it is about, and what copies the one into the other."""

    database: Database
    ledger: CreditLedger
    copier: Copier


def with_archive(config: Config, ask: Callable[[OpenArchive], Awaitable[_T]]) -> _T:
    """Open ledger and archive, call ``ask`` with them, close them, and return the result.

    Raises:
        LedgerError: the ledger refuses the call or can't be reached.
        StoreError: the archive can't be used.
        BadInput: the input is not valid.
    """

    async def run() -> _T:
        async with (
            connected(config, None) as client,
            open_ledger(config, redis=client) as ledger,
            open_archive(config, ledger.key_check) as database,
        ):
            keys = Keys(config.redis.key_prefix)
            copier = Copier(database, client, keys, timeout_ms=config.redis.timeout_ms)
            with refusals():
                return await ask(OpenArchive(database, ledger, copier))

    return run_async(run())
