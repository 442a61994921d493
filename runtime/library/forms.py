"""Actions, versions and changes as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from runtime.library.stored import Change, StoredAction, StoredVersion


def instant_text(at_ms: int) -> str:
    """Return an instant as RFC 3339 text in UTC, with milliseconds."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def action_json(action: StoredAction) -> dict[str, Any]:
    """Return an action without its draft."""
    archived_ms = action.archived_ms
    return {
        "action_id": action.action_id,
        "account_id": action.account_id,
        "workspace_id": action.workspace_id,
        "name": action.name,
        "etag": action.etag,
        "published": action.published,
        "published_number": action.number,
        "is_changed": action.is_changed,
        "created_at": instant_text(action.created_ms),
        "updated_at": instant_text(action.updated_ms),
        "archived_at": None if archived_ms is None else instant_text(archived_ms),
    }


def version_json(version: StoredVersion) -> dict[str, Any]:
    """Return a version without its content."""
    return {
        "version": version.version,
        "number": version.number,
        "note": version.note,
        "published_at": instant_text(version.published_ms),
        "published_by": version.published_by,
    }


def change_json(change: Change) -> dict[str, Any]:
    """Return a change of an action."""
    return {
        "number": change.number,
        "kind": change.kind,
        "version": change.version,
        "note": change.note,
        "changed_at": instant_text(change.changed_ms),
        "changed_by": change.changed_by,
    }
