"""The library: what marketers do with the actions of an account. It is kept in SQL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, func, or_, select

from runtime.actions.source import UnknownAction
from runtime.config import Config
from runtime.config.drafts import CheckedDraft, DraftMistake, DraftRefused
from runtime.library.checking import check_action, draft_text
from runtime.library.errors import (
    ActionChanged,
    ActionExists,
    TooManyActions,
)
from runtime.library.records import Pointer, Records, content_of, spec_of
from runtime.library.rows import (
    add_version,
    change_row,
    insert_into,
    later_revision,
    new_etag,
    note_change,
    now_ms,
    of_action,
    row_of,
    row_of_version,
    select_actions,
    written,
)
from runtime.library.stored import (
    Change,
    StoredAction,
    StoredVersion,
    action_of,
    change_of,
    version_of,
)
from runtime.redis.errors import RedisUnavailable
from runtime.store.reopening import Store
from runtime.store.schema import action_changes, action_versions, actions

MOST_ACTIONS = 1_000
"""The most actions of an account, archived ones included."""

_log = logging.getLogger("creditgate.library")


@dataclass(frozen=True, slots=True)
class Saved:
    """An action as it was saved, and what the checks say of its draft."""

    action: StoredAction
    checked: CheckedDraft
    is_new: bool


@dataclass(frozen=True, slots=True)
class Published:
    """A publication.

    ``is_new`` is false where this content was published before; ``in_force`` is false while Redis
    could not be told: that is made up for as soon as it can be reached.
    """

    action: StoredAction
    version: StoredVersion
    is_new: bool
    in_force: bool


class Library:
    """The actions of all accounts.

    Args:
        configured: returns the configuration that drafts are checked against.
        on_published: called with account and action, once Redis has a publication.

    Raises (all methods):
        StoreUnavailable: the database can't be reached.
        UnknownAction: the account has no such action, in all methods that name one.
    """

    def __init__(
        self,
        store: Store,
        records: Records,
        configured: Callable[[], Config],
        on_published: Callable[[str, str], object] = lambda account_id, action_id: None,
    ) -> None:
        self._on_published = on_published
        self._store = store
        self._records = records
        self._configured = configured

    # Reading

    async def find(self, account_id: str, action_id: str) -> StoredAction:
        """Return an action, archived or not."""
        async with self._store.connect() as connection:
            return action_of(await row_of(connection, account_id, action_id))

    async def exists(self, account_id: str, action_id: str) -> bool:
        """Return whether the account has an action with this id, archived or not."""
        try:
            await self.find(account_id, action_id)
        except UnknownAction:
            return False
        return True

    async def check(self, action_id: str, draft: Mapping[str, Any]) -> CheckedDraft:
        """Return what a draft becomes, with its mistakes."""
        return await asyncio.to_thread(
            check_action, self._configured(), action_id, draft, datetime.now(UTC)
        )

    async def page(
        self,
        account_id: str,
        *,
        workspace_id: str | None = None,
        archived: bool = False,
        after: str = "",
        limit: int = 100,
    ) -> list[StoredAction]:
        """Return actions in the order of their ids.

        Args:
            workspace_id: those of this workspace, and those of all workspaces.
            archived: archived ones instead of the others.
            after: ids after this one.
        """
        state = actions.c.archived_ms.is_not(None) if archived else actions.c.archived_ms.is_(None)
        query = select_actions().where(
            actions.c.account_id == account_id, actions.c.action_id > after, state
        )
        if workspace_id is not None:
            own = actions.c.workspace_id == workspace_id
            query = query.where(or_(own, actions.c.workspace_id.is_(None)))
        async with self._store.connect() as connection:
            rows = await connection.execute(query.order_by(actions.c.action_id).limit(limit))
            return [action_of(row) for row in rows]

    async def versions(
        self, account_id: str, action_id: str, *, before: int | None = None, limit: int = 100
    ) -> list[StoredVersion]:
        """Return published versions, the last one first; ``before`` is a number."""
        query = select(action_versions).where(of_action(action_versions, account_id, action_id))
        if before is not None:
            query = query.where(action_versions.c.number < before)
        async with self._store.connect() as connection:
            await row_of(connection, account_id, action_id)
            ordered = query.order_by(action_versions.c.number.desc()).limit(limit)
            return [version_of(row) for row in await connection.execute(ordered)]

    async def version(self, account_id: str, action_id: str, version: str) -> StoredVersion:
        """Return a published version, by its name or its number.

        Raises:
            UnknownAction: there is no such version.
        """
        async with self._store.connect() as connection:
            found = await row_of_version(connection, account_id, action_id, version)
        if found is None:
            raise UnknownAction(action_id, version)
        return version_of(found)

    async def history(
        self, account_id: str, action_id: str, *, before: int | None = None, limit: int = 100
    ) -> list[Change]:
        """Return the changes of an action, the last one first; ``before`` is a number."""
        query = select(action_changes).where(of_action(action_changes, account_id, action_id))
        if before is not None:
            query = query.where(action_changes.c.number < before)
        async with self._store.connect() as connection:
            await row_of(connection, account_id, action_id)
            ordered = query.order_by(action_changes.c.number.desc()).limit(limit)
            return [change_of(row) for row in await connection.execute(ordered)]

    # Changing

    async def create(
        self,
        account_id: str,
        action_id: str,
        *,
        name: str,
        workspace_id: str | None,
        draft: Mapping[str, Any],
        by: str,
    ) -> Saved:
        """Add an action with a draft, which may have mistakes.

        Raises:
            ActionExists: the id is taken.
            TooManyActions: the account has as many as it may have.
            DraftRefused: the draft can't be stored.
        """
        text, checked = await self._draft(action_id, draft)
        at_ms = now_ms()
        row = {
            "account_id": account_id,
            "action_id": action_id,
            "workspace_id": workspace_id,
            "name": name,
            "etag": new_etag(),
            "draft": text,
            "draft_version": _version_name(checked),
            "published": None,
            "revision": 0,
            "to_write": 0,
            "created_ms": at_ms,
            "updated_ms": at_ms,
            "archived_ms": None,
        }
        async with self._store.begin() as connection:
            add = insert_into(connection, actions).values(row).on_conflict_do_nothing()
            if (await connection.execute(add)).rowcount == 0:
                raise ActionExists(action_id)
            of_account = actions.c.account_id == account_id
            count = select(func.count()).select_from(actions).where(of_account)
            if (await connection.execute(count)).scalar_one() > MOST_ACTIONS:
                raise TooManyActions(
                    f"an account may have {MOST_ACTIONS:,} actions, archived ones too"
                )
            await note_change(connection, account_id, action_id, "created", None, "", by)
            saved = action_of(await row_of(connection, account_id, action_id))
        return Saved(saved, checked, is_new=True)

    async def save(
        self,
        account_id: str,
        action_id: str,
        *,
        etag: str,
        name: str,
        workspace_id: str | None,
        draft: Mapping[str, Any],
    ) -> Saved:
        """Replace name, workspace and draft of an action. The draft may have mistakes.

        Raises:
            ActionChanged: it has another etag by now.
            ActionArchived: it is archived.
            DraftRefused: the draft can't be stored.
        """
        text, checked = await self._draft(action_id, draft)
        values = {
            "name": name,
            "workspace_id": workspace_id,
            "draft": text,
            "draft_version": _version_name(checked),
        }
        async with self._store.begin() as connection:
            row = await change_row(connection, account_id, action_id, etag, values)
        return Saved(action_of(row), checked, is_new=False)

    async def publish(
        self, account_id: str, action_id: str, *, etag: str, note: str, by: str
    ) -> Published:
        """Make the draft the version that runs.

        SQL is written first, and Redis then; what Redis lacks after a crash in between is written
        by ``Republishing``.

        Raises:
            ActionChanged: it has another etag by now.
            ActionArchived: it is archived.
            DraftRefused: the draft has mistakes.
        """
        before = await self.find(account_id, action_id)
        if before.etag != etag:
            raise ActionChanged(action_id)
        checked = await self.check(action_id, before.draft)
        if checked.spec is None:
            raise DraftRefused(checked.mistakes)
        spec = checked.spec
        at_ms = now_ms()
        values = {
            "published": spec.version,
            "draft_version": spec.version,
            "to_write": 1,
            # Never behind what Redis has, even if the database was restored from a backup.
            "revision": later_revision(at_ms),
        }
        async with self._store.begin() as connection:
            row = await change_row(connection, account_id, action_id, etag, values)
            stored = await row_of_version(connection, account_id, action_id, spec.version)
            if stored is None:
                await add_version(connection, row, content_of(spec), note, by)
                stored = await row_of_version(connection, account_id, action_id, spec.version)
                is_new = True
            else:
                is_new = False
                if spec_of(stored.spec) != spec:
                    raise DraftRefused([_SAME_NAME])
            await note_change(
                connection, account_id, action_id, "published", spec.version, note, by
            )
        assert stored is not None  # noqa: S101 - it is there, or was added just now
        in_force = await self._tell(row, stored.spec)
        return Published(action_of(row), version_of(stored), is_new, in_force)

    async def duplicate(
        self,
        account_id: str,
        action_id: str,
        *,
        new_id: str,
        name: str | None,
        workspace_id: str | None,
        by: str,
    ) -> Saved:
        """Add an action with the draft of another one, which may be archived.

        Raises:
            ActionExists, TooManyActions: as ``create``.
        """
        original = await self.find(account_id, action_id)
        draft = {key: value for key, value in original.draft.items() if key != "id"}
        return await self.create(
            account_id,
            new_id,
            name=original.name if name is None else name,
            workspace_id=workspace_id,
            draft=draft,
            by=by,
        )

    async def archive(self, account_id: str, action_id: str, *, etag: str, by: str) -> StoredAction:
        """Take an action off the lists. What names it goes on: campaigns must not fail.

        Raises:
            ActionChanged: it has another etag by now.
            ActionArchived: it is archived already.
        """
        async with self._store.begin() as connection:
            values = {"archived_ms": now_ms()}
            row = await change_row(connection, account_id, action_id, etag, values)
            await note_change(connection, account_id, action_id, "archived", None, "", by)
        return action_of(row)

    async def restore(self, account_id: str, action_id: str, *, etag: str, by: str) -> StoredAction:
        """Undo ``archive``; an action that is not archived stays as it is.

        Raises:
            ActionChanged: it has another etag by now.
        """
        async with self._store.begin() as connection:
            values = {"archived_ms": None}
            row = await change_row(connection, account_id, action_id, etag, values, archived=True)
            await note_change(connection, account_id, action_id, "restored", None, "", by)
        return action_of(row)

    async def _draft(self, action_id: str, draft: Mapping[str, Any]) -> tuple[str, CheckedDraft]:
        try:
            text = draft_text(draft)
        except ValueError as error:
            raise DraftRefused([DraftMistake("", str(error))]) from None
        return text, await self.check(action_id, draft)

    async def _tell(self, row: Row[Any], content: str) -> bool:
        """Write a publication to Redis; return whether it is there."""
        try:
            pointer = Pointer(row.revision, row.published)
            await self._records.write(row.account_id, row.action_id, pointer, content)
        except RedisUnavailable as error:
            _log.warning("a publication is written to Redis later: %s", error)
            return False
        self._on_published(row.account_id, row.action_id)
        await written(self._store, row.account_id, row.action_id, row.revision)
        return True


_SAME_NAME = DraftMistake(
    "", "has the version name of another content that was published: change any text of it"
)


def _version_name(checked: CheckedDraft) -> str | None:
    return None if checked.spec is None else checked.spec.version
