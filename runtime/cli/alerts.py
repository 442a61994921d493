"""Steps of commands about alerts: opening what sends them, and waiting for deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from runtime.alerts.deliveries import Delivery
from runtime.alerts.sender import AlertSender
from runtime.archive.opening import open_archive
from runtime.cli.failures import refusals
from runtime.cli.ledger import run_async
from runtime.config import Config
from runtime.credits.installation_key import identity_of
from runtime.store.reopening import Store

_T = TypeVar("_T")
_LONGEST_WAIT_S = 40.0
_PAUSE_S = 0.2


def with_sender(config: Config, ask: Callable[[AlertSender], Awaitable[_T]]) -> _T:
    """Open what sends alerts, call ``ask`` with it, close it, and return the result.

    Raises:
        StoreError: the database can't be used.
        BadInput: the input is not valid.
    """

    async def run() -> _T:
        key_check = identity_of(config).check_value()
        store = Store(lambda: open_archive(config, key_check))
        sender = AlertSender(config, store)
        try:
            with refusals():
                return await ask(sender)
        finally:
            await sender.aclose()
            await store.aclose()

    return run_async(run())


async def send_now(sender: AlertSender, delivery_ids: Sequence[str]) -> list[Delivery]:
    """Make the first attempt of deliveries, here or in a service; return them after it."""
    deadline_s = asyncio.get_running_loop().time() + _LONGEST_WAIT_S
    while True:
        await sender.delivering.run_once()
        await sender.delivering.drain()
        found = [await sender.deliveries.find(each) for each in delivery_ids]
        is_late = asyncio.get_running_loop().time() > deadline_s
        if is_late or all(each.state != "waiting" or each.fault for each in found):
            return found
        await asyncio.sleep(_PAUSE_S)
