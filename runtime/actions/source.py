"""Action sources: where an action is found by its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from pricing.errors import CreditgateError
from runtime.actions.spec import ActionSpec


class UnknownAction(CreditgateError, LookupError):
    """No action of this id (and version) exists for this account."""

    def __init__(self, action_id: str, version: str | None = None) -> None:
        super().__init__(f"unknown action {action_id!r}" + (f", version {version}" * bool(version)))
        self.action_id = action_id
        self.version = version


class ActionSourceUnavailable(CreditgateError):
    """Nobody can tell now which version of an action is current, or what is in it.

    The action is not known to be missing: ask again later.
    """


class ActionSource(Protocol):
    """A place where actions come from: the config, a database, or a host's own."""

    async def get(self, account_id: str, action_id: str, version: str | None = None) -> ActionSpec:
        """Return the action as the account sees it, in its current version by default.

        Raises:
            UnknownAction: the account has no such action or version.
            ActionSourceUnavailable: the source can't tell now.
        """
        ...


@runtime_checkable
class ActionLayer(Protocol):
    """Actions that come before those of the configuration, whichever is in force."""

    def above(self, configured: ActionSource) -> ActionSource:
        """Return a source that asks this one first, and then the configuration's."""
        ...


class ConfigActions:
    """The actions of the config, the same for every account."""

    def __init__(self, actions: Mapping[str, ActionSpec]) -> None:
        self._actions = dict(actions)

    async def get(self, account_id: str, action_id: str, version: str | None = None) -> ActionSpec:
        """Return the action. The only version is the config's.

        Raises:
            UnknownAction: the config has no such action or version.
        """
        spec = self._actions.get(action_id)
        if spec is None or version not in (None, spec.version):
            raise UnknownAction(action_id, version)
        return spec
