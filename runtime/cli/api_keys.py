"""Steps of commands about keys of the API: opening the database and Redis, and the loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from runtime.api_keys.api_keys import ApiKeys
from runtime.archive.opening import open_archive
from runtime.cli.failures import refusals
from runtime.cli.ledger import run_async
from runtime.config import Config
from runtime.credits.installation_key import identity_of
from runtime.ledger_opening import connected, open_ledger
from runtime.redis.keys import Keys
from runtime.store.reopening import Store

_T = TypeVar("_T")


def with_keys(
    config: Config, ask: Callable[[ApiKeys], Awaitable[_T]], *, of_account: str | None = None
) -> _T:
    """Open the keys, call ``ask`` with them, close them, and return the result.

    Args:
        of_account: an account that must have been opened; only then Redis must be reached.

    Raises:
        AccountUnknown, LedgerUnavailable: about ``of_account``.
        ApiKeyError, StoreError: as ``ask`` raises them.
    """

    async def run() -> _T:
        async with connected(config, None) as client:
            if of_account is not None:
                async with open_ledger(config, redis=client) as ledger:
                    with refusals():
                        await ledger.accounts.balance(of_account)
            store = Store(lambda: open_archive(config, identity_of(config).check_value()))
            names = Keys(config.redis.key_prefix)
            try:
                return await ask(ApiKeys(store, client, names, config.redis.timeout_ms))
            finally:
                await store.aclose()

    return run_async(run())
