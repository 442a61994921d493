"""An account's own actions, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtime.cli.views.table import table
from runtime.config.drafts import CheckedDraft
from runtime.library.forms import instant_text
from runtime.library.stored import Change, StoredAction


def actions_lines(actions: Sequence[StoredAction]) -> Iterator[str]:
    """Yield each action with the version that runs."""
    if not actions:
        yield "No actions."
        return
    header = ("action", "name", "workspace", "published", "draft")
    rows = [
        (
            one.action_id,
            one.name,
            one.workspace_id or "all",
            _published(one),
            "changed" if one.is_changed else "",
        )
        for one in actions
    ]
    yield from table([header, *rows])


def action_lines(action: StoredAction, checked: CheckedDraft) -> Iterator[str]:
    """Yield an action, and what its draft lacks."""
    yield f"{action.action_id}: {action.name}"
    yield f"workspace: {action.workspace_id or 'all of the account'}"
    yield f"published: {_published(action)}"
    if action.archived_ms is not None:
        yield f"archived: {instant_text(action.archived_ms)}; what names it still runs"
    if not action.is_changed:
        yield "draft: as published"
    elif checked.spec is not None:
        yield f"draft: not published, would be {checked.spec.version}"
    else:
        yield "draft: not published, with mistakes"
    yield from (f"  {one}" for one in checked.mistakes)
    yield from (f"  warning: {one}" for one in checked.warnings)


def history_lines(changes: Sequence[Change]) -> Iterator[str]:
    """Yield each change, the last one first."""
    header = ("when", "what", "version", "by", "note")
    rows = [
        (
            instant_text(one.changed_ms),
            one.kind,
            one.version or "",
            one.changed_by,
            one.note,
        )
        for one in changes
    ]
    yield from table([header, *rows])


def _published(action: StoredAction) -> str:
    return "never" if action.published is None else f"{action.number} ({action.published})"
