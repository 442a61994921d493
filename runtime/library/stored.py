"""Rows of the library: actions, versions and changes, as callers see them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row


@dataclass(frozen=True, slots=True)
class StoredAction:
    """An action of an account.

    ``workspace_id`` is ``None`` for one of all workspaces. ``draft_version`` is the version that
    the draft would be, ``None`` while it has mistakes; ``published`` the version that runs, and
    ``number`` its number.
    """

    account_id: str
    action_id: str
    workspace_id: str | None
    name: str
    etag: str
    draft: dict[str, Any]
    draft_version: str | None
    published: str | None
    number: int | None
    created_ms: int
    updated_ms: int
    archived_ms: int | None

    @property
    def is_changed(self) -> bool:
        """True while the draft is not what is published."""
        return self.draft_version is None or self.draft_version != self.published


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A published version; ``content`` is the action in plain JSON types."""

    version: str
    number: int
    content: dict[str, Any]
    note: str
    published_ms: int
    published_by: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an action: ``kind`` is created, published, archived or restored."""

    number: int
    kind: str
    version: str | None
    note: str
    changed_ms: int
    changed_by: str


def action_of(row: Row[Any]) -> StoredAction:
    """Return a row of ``actions``."""
    return StoredAction(
        account_id=row.account_id,
        action_id=row.action_id,
        workspace_id=row.workspace_id,
        name=row.name,
        etag=row.etag,
        draft=json.loads(row.draft),
        draft_version=row.draft_version,
        published=row.published,
        number=row.number,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        archived_ms=row.archived_ms,
    )


def version_of(row: Row[Any]) -> StoredVersion:
    """Return a row of ``action_versions``."""
    return StoredVersion(
        version=row.version,
        number=row.number,
        content=json.loads(row.spec),
        note=row.note,
        published_ms=row.published_ms,
        published_by=row.published_by,
    )


def change_of(row: Row[Any]) -> Change:
    """Return a row of ``action_changes``."""
    return Change(row.number, row.kind, row.version, row.note, row.changed_ms, row.changed_by)
