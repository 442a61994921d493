"""A library of a test's own, with several processes' sources of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from runtime.actions.spec import ActionSpec
from runtime.config import Config
from runtime.library.library import Library, Published
from runtime.library.records import Records
from runtime.library.republishing import Republishing
from runtime.library.source import LibraryActions
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.database import open_database
from runtime.store.reopening import Store
from tests.harness.ledger.desk import connect
from tests.harness.workbench import ACCOUNT, make_config

ACTION = "greet"


def draft(**changes: Any) -> dict[str, Any]:
    """A draft without mistakes, changed as told."""
    content = {
        "model": "writer",
        "user": "{{ customer.message }}",
        "outputs": {"happy": {"type": "boolean", "fallback": False}},
        "limits": {"max_output_tokens": 50},
    }
    return content | changes


class LibraryDesk:
    """A library, and all that it stands on."""

    def __init__(
        self, config: Config, store: Store, client: Client, keys: Keys, timeout_ms: int
    ) -> None:
        self.client, self.keys = client, keys
        self.records = Records(client, keys, timeout_ms)
        self.republishing = Republishing(store, self.records)
        self.library = Library(store, self.records, lambda: config)
        self.gaps: list[tuple[str, str]] = []
        self._sources: list[LibraryActions] = []

    def source(self) -> LibraryActions:
        """What another process has: a memory of its own."""
        made = LibraryActions(self.records, self._gap)
        self._sources.append(made)
        return made

    async def publish(self, text: str = "Hello", *, action_id: str = ACTION) -> Published:
        """Publish the action with this prompt, which it gets if it is not there yet."""
        content = draft(user=text)
        if await self.library.exists(ACCOUNT, action_id):
            found = await self.library.find(ACCOUNT, action_id)
            saved = await self.library.save(
                ACCOUNT, action_id, etag=found.etag, name="x", workspace_id=None, draft=content
            )
        else:
            saved = await self.library.create(
                ACCOUNT, action_id, name="x", workspace_id=None, draft=content, by="test"
            )
        return await self.library.publish(
            ACCOUNT, action_id, etag=saved.action.etag, note="", by="test"
        )

    async def prompt_of(self, source: LibraryActions, action_id: str = ACTION) -> str:
        """The prompt of the version that a source runs."""
        spec: ActionSpec = await source.get(ACCOUNT, action_id)
        return spec.user

    async def aclose(self) -> None:
        """Close the sources."""
        for source in self._sources:
            await source.aclose()
        await self.republishing.aclose()

    def _gap(self, account_id: str, action_id: str) -> None:
        self.gaps.append((account_id, action_id))
        self.republishing.want(account_id, action_id)


@asynccontextmanager
async def open_desk(
    url: URL, redis_url: str, key_prefix: str, folder: Path, *, timeout_ms: int = 10_000
) -> AsyncIterator[LibraryDesk]:
    """Open a library on these servers."""
    config = make_config(folder, redis_url, key_prefix, "http://127.0.0.1:9/v1")
    async with AsyncExitStack() as stack:
        client = connect(redis_url)
        stack.push_async_callback(client.aclose)
        store = Store(lambda: open_database(url))
        stack.push_async_callback(store.aclose)
        desk = LibraryDesk(config, store, client, Keys(key_prefix), timeout_ms)
        stack.push_async_callback(desk.aclose)
        yield desk
