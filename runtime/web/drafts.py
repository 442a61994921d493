"""Actions in bodies: saved ones by id and version, drafts in full."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from runtime.actions.spec import ActionSpec
from runtime.ids import ID_RULE, is_strict_id
from runtime.library.checking import DraftMistake, check_draft
from runtime.web.bodies import Body, StrictId
from runtime.web.problems import FieldError, Problem, invalid
from runtime.web.service import Service

Draft = Annotated[
    dict[str, Any],
    Field(
        description="An action that is not saved, as the configuration has it under `actions`, "
        "with an `id` of 1 to 64 of `A-Z a-z 0-9 _ . -`."
    ),
]


class ScopesBody(Body):
    """One person's data: the scopes that templates read, each a mapping of attributes."""

    customer: dict[str, Any] = Field(default_factory=dict)
    event: dict[str, Any] = Field(default_factory=dict)
    journey: dict[str, Any] = Field(default_factory=dict)
    campaign: dict[str, Any] = Field(default_factory=dict)
    workspace: dict[str, Any] = Field(default_factory=dict)

    def scopes(self) -> dict[str, dict[str, Any]]:
        """Return the scopes that were given."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class ActionBody(Body):
    """The action of a body: `action`, perhaps with `version`, or `draft`."""

    action: StrictId | None = Field(None, description="The id of a saved action.")
    version: StrictId | None = Field(
        None, description="One of its versions; by default the one that campaigns run."
    )
    draft: Draft | None = None

    async def spec(self, service: Service, account_id: str, at: str = "") -> ActionSpec:
        """Return the action.

        Args:
            at: what stands before the names of fields in messages, such as ``actions.0.``.

        Raises:
            Problem: a draft has mistakes, or there is not exactly one of ``action`` and ``draft``.
            UnknownAction: the account has no such action or version.
        """
        if (self.action is None) == (self.draft is None):
            raise invalid(f"{at}action", "give either `action` or `draft`")
        if self.action is not None:
            return await service.runtime.actions.get(account_id, self.action, self.version)
        if self.version is not None:
            raise invalid(f"{at}version", "a draft has no version yet; leave it out")
        return await checked_draft(service, self.draft or {}, f"{at}draft.")


async def checked_draft(service: Service, fields: Mapping[str, Any], at: str) -> ActionSpec:
    """Return an action that is not saved, checked by the service's configuration.

    Raises:
        Problem: it has mistakes; each is named with its path, and a template's with its line.
    """
    action_id = fields.get("id")
    if not isinstance(action_id, str) or is_strict_id(action_id) is None:
        raise invalid(f"{at}id", f"must be {ID_RULE}", action_id)
    checked = await asyncio.to_thread(
        check_draft, service.config, action_id, fields, datetime.now(UTC)
    )
    if checked.spec is None:
        raise _refused(checked.mistakes, at)
    return checked.spec


def _refused(mistakes: Sequence[DraftMistake], at: str) -> Problem:
    errors = [
        FieldError(
            field=f"{at}{mistake.path}".removesuffix("."),
            message=mistake.message,
            line=mistake.line,
        )
        for mistake in mistakes
    ]
    rest = f" ({len(errors) - 1} more below)" if len(errors) > 1 else ""
    detail = f"{errors[0].field}: {errors[0].message}{rest}."
    return Problem(422, "invalid_request", "The request is not valid", detail, errors=errors)
