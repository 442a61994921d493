"""Steps of commands about an account's own actions: opening SQL and Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from runtime.actions.source import UnknownAction
from runtime.actions.spec import ActionSpec
from runtime.archive.opening import open_archive
from runtime.cli.failures import refusals
from runtime.cli.ledger import run_async
from runtime.cli.options import BadInput
from runtime.config import Config, ConfigError
from runtime.config.document import read_document
from runtime.config.drafts import DraftMistake
from runtime.config.sections import with_floats
from runtime.credits.installation_key import identity_of
from runtime.ledger_opening import connected
from runtime.library.checking import check_action
from runtime.library.library import Library
from runtime.library.records import Records
from runtime.redis.keys import Keys
from runtime.store.reopening import Store

_T = TypeVar("_T")


def with_library(config: Config, ask: Callable[[Library], Awaitable[_T]]) -> _T:
    """Open the library, call ``ask`` with it, close it, and return the result.

    Raises:
        StoreError: the database can't be used.
        LedgerError: Redis can't be reached.
        BadInput: the input is not valid.
    """

    async def run() -> _T:
        key_check = identity_of(config).check_value()
        async with connected(config, None) as client:
            store = Store(lambda: open_archive(config, key_check))
            records = Records(client, Keys(config.redis.key_prefix), config.redis.timeout_ms)
            try:
                with refusals():
                    return await ask(Library(store, records, lambda: config))
            finally:
                await store.aclose()

    return run_async(run())


def read_action_file(path: Path) -> dict[str, Any]:
    """Return the action in a YAML or JSON file, which is like an entry of ``actions``.

    Raises:
        ConfigError: it is not such a file; each mistake has its line.
        OSError: it can't be read.
    """
    document = read_document(None, path, path.parent)
    if document.mistakes:
        raise ConfigError(document.mistakes)
    found: dict[str, Any] = with_floats(document.data)
    return found


def check(config: Config, action_id: str, draft: dict[str, Any]) -> None:
    """Check that a draft can be published.

    Raises:
        BadInput: it has mistakes; the message has all of them.
    """
    checked = check_action(config, action_id, draft, datetime.now(UTC))
    if checked.mistakes:
        raise BadInput(mistakes_text(checked.mistakes))


def mistakes_text(mistakes: tuple[DraftMistake, ...]) -> str:
    """Return the mistakes of a draft, one a line."""
    count = len(mistakes)
    lines = "\n".join(f"  {one}" for one in mistakes)
    return f"the action has {count} mistake{'s' * (count != 1)}:\n{lines}"


def published_action(config: Config, account_id: str, action_id: str) -> ActionSpec | None:
    """Return the published version of one of an account's own actions, if there is one.

    Raises:
        StoreError: the database can't be used.
    """

    async def ask(library: Library) -> ActionSpec | None:
        try:
            found = await library.find(account_id, action_id)
            if found.published is None:
                return None
            version = await library.version(account_id, action_id, found.published)
        except UnknownAction:
            return None
        return ActionSpec.model_validate(version.content)

    return with_library(config, ask)
