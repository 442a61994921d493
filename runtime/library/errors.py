"""Errors of the library.

LibraryError
├── ActionChanged       somebody else changed the action meanwhile
├── ActionExists        the id is taken
├── ActionArchived      an archived action can't be changed
└── TooManyActions      the account has as many as it may have
"""

from __future__ import annotations

from pricing.errors import CreditgateError


class LibraryError(CreditgateError):
    """The library refuses what it was asked; nothing was changed."""


class ActionChanged(LibraryError):
    """Somebody else changed the action meanwhile."""

    def __init__(self, action_id: str) -> None:
        super().__init__(
            f"action {action_id!r} was changed since you read it: read it again, with its new etag"
        )


class ActionExists(LibraryError):
    """The id is taken, perhaps by an archived action."""

    def __init__(self, action_id: str) -> None:
        super().__init__(f"the account has an action {action_id!r} already, or an archived one")


class ActionArchived(LibraryError):
    """An archived action can't be changed."""

    def __init__(self, action_id: str) -> None:
        super().__init__(f"action {action_id!r} is archived: restore it before you change it")


class TooManyActions(LibraryError):
    """The account has as many actions as it may have."""
