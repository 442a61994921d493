"""Opens the library of a process that runs executions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from runtime.background import finish
from runtime.config import Config
from runtime.library.library import Library
from runtime.library.records import Records
from runtime.library.republishing import Republishing
from runtime.library.source import LibraryActions
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.reopening import Store


@dataclass(frozen=True, slots=True)
class OpenLibrary:
    """The library, and the published actions in it as executions find them."""

    library: Library
    actions: LibraryActions


@asynccontextmanager
async def open_library(
    config: Config, client: Client, store: Store, configured: Callable[[], Config]
) -> AsyncIterator[OpenLibrary]:
    """Open the library, and write to Redis the published actions that it lacks.

    It opens without SQL and without Redis too: what then can't be told is told later.
    """
    records = Records(client, Keys(config.redis.key_prefix), config.redis.timeout_ms)
    republishing = Republishing(store, records)
    actions = LibraryActions(records, republishing.want)
    try:
        await republishing.start()
        yield OpenLibrary(Library(store, records, configured, actions.look_again), actions)
    finally:
        await finish("closing the actions", actions.aclose())
        await finish("publishing actions", republishing.aclose())
