"""Actions in bodies: saved ones by id and version, drafts in full."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from runtime.actions.source import UnknownAction
from runtime.actions.spec import ActionSpec
from runtime.config.drafts import DraftRefused, read_draft
from runtime.web.bodies import Body, StrictId
from runtime.web.problems import FieldError, Problem, invalid
from runtime.web.service import Service

_MOST_ERRORS = 100

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
            return await _saved(service, account_id, self.action, self.version)
        if self.version is not None:
            raise invalid(f"{at}version", "a draft has no version yet; leave it out")
        return await checked_draft(service, self.draft or {}, f"{at}draft.")


async def _saved(
    service: Service, account_id: str, action_id: str, version: str | None
) -> ActionSpec:
    try:
        return await service.runtime.actions.get(account_id, action_id, version)
    except UnknownAction:
        if version is None:
            raise
    # Redis keeps versions that are no longer current for a while; SQL has them all.
    stored = await service.library.version(account_id, action_id, version)
    return await asyncio.to_thread(ActionSpec.model_validate, stored.content)


async def checked_draft(service: Service, fields: Mapping[str, Any], at: str) -> ActionSpec:
    """Return an action that is not saved, checked by the service's configuration.

    Raises:
        Problem: it has mistakes; each is named with its path, and a template's with its line.
    """
    try:
        return await asyncio.to_thread(read_draft, service.config, fields)
    except DraftRefused as error:
        raise draft_problem(error, at) from None


def draft_problem(error: DraftRefused, at: str) -> Problem:
    """Return the problem of a draft; ``at`` stands before its fields, such as ``draft.``."""
    errors = [
        FieldError(
            field=f"{at}{mistake.field}".rstrip("."), message=mistake.message, line=mistake.line
        )
        for mistake in error.mistakes[:_MOST_ERRORS]
    ]
    rest = f" ({len(error.mistakes) - 1} more below)" if len(error.mistakes) > 1 else ""
    detail = f"{errors[0].field}: {errors[0].message}{rest}."
    return Problem(422, "invalid_request", "The request is not valid", detail, errors=errors)
