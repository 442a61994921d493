"""Bodies of actions and the answers about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.config.drafts import CheckedDraft, DraftMistake
from runtime.library.differences import Difference
from runtime.library.forms import action_json, instant_text
from runtime.library.stored import StoredAction
from runtime.library.used import UsedIn
from runtime.web.bodies import Body, IdText, Reference, StrictId

EXAMPLE_DRAFT: dict[str, Any] = {
    "model": "quick",
    "user": "Route this message: {{ customer.message }}",
    "outputs": {
        "intent": {
            "type": "single_select",
            "options": ["card", "transfer", "other"],
            "fallback": "other",
        }
    },
    "limits": {"max_output_tokens": 200},
}
EXAMPLE_ACTION: dict[str, Any] = {
    "name": "Route messages",
    "workspace_id": "retail",
    "draft": EXAMPLE_DRAFT,
}

EXAMPLE_INFO: dict[str, Any] = {
    "action_id": "route",
    "account_id": "acme",
    "workspace_id": "retail",
    "name": "Route messages",
    "etag": "2yVxVz0m0sYkX6kq3mJt3g",
    "published": "0f3c2a9b71de",
    "published_number": 2,
    "is_changed": False,
    "created_at": "2026-07-08T09:30:00.000Z",
    "updated_at": "2026-07-09T14:05:12.345Z",
    "archived_at": None,
}
EXAMPLE_VERSION: dict[str, Any] = {
    "version": "0f3c2a9b71de",
    "number": 2,
    "note": "Shorter prompt",
    "published_at": "2026-07-09T14:05:12.345Z",
    "published_by": "key 5f0c6a1e2b3d4c5f",
}
EXAMPLE_CONTENT: dict[str, Any] = {"id": "route", **EXAMPLE_DRAFT}

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""An instant in an answer: RFC 3339 in UTC, with milliseconds."""

_Draft = Annotated[
    dict[str, Any],
    Field(
        description="Model, prompts, outputs with their fallback values, and limits, like an entry "
        "of `actions` in the config. It may be unfinished: its mistakes are in the answer, and "
        "only publishing refuses them."
    ),
]
_WorkspaceId = Annotated[
    IdText | None,
    Field(description="The workspace that it belongs to; null for all of the account's."),
]
_Version = Annotated[str, Field(description="The name of a published content.")]


class ActionBody(Body):
    """An action as a whole: what is left out takes its default."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_ACTION]})

    name: Reference
    workspace_id: _WorkspaceId = None
    draft: _Draft


class PublishBody(Body):
    """A publication."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "Shorter prompt"}]})

    note: Annotated[str, Field(max_length=200, description="What changed, for the history.")] = ""


class DuplicateBody(Body):
    """A copy of an action's draft under another id."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"action_id": "route_2", "name": "Route, second try"}]}
    )

    action_id: StrictId
    name: Reference | None = Field(None, description="By default the original's.")
    workspace_id: _WorkspaceId = None


class Mistake(BaseModel):
    """A mistake in a draft, or a warning."""

    field: str = Field(description="Its path, such as `draft.outputs.intent.fallback`.")
    message: str = Field(description="What was found, and what is allowed.")
    line: int | None = Field(description="The line within a template, from 1.")


class ActionInfo(BaseModel):
    """An action in a list."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_INFO]})

    action_id: str
    account_id: str
    workspace_id: str | None
    name: str
    etag: str
    published: str | None = Field(description="The version that runs; null before the first one.")
    published_number: int | None
    is_changed: bool = Field(description="The draft is not what is published.")
    created_at: Instant
    updated_at: Instant
    archived_at: Instant | None


class ActionPage(BaseModel):
    """Actions in the order of their ids."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [EXAMPLE_INFO], "next_cursor": None}]}
    )

    items: list[ActionInfo]
    next_cursor: str | None


class Action(ActionInfo):
    """An action with its draft."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **EXAMPLE_INFO,
                    "draft": EXAMPLE_DRAFT,
                    "draft_version": "0f3c2a9b71de",
                    "mistakes": [],
                    "warnings": [],
                }
            ]
        }
    )

    draft: dict[str, Any]
    draft_version: str | None = Field(
        description="The version that the draft would be; null while it has mistakes."
    )
    mistakes: list[Mistake] = Field(description="What keeps the draft from being published.")
    warnings: list[Mistake] = Field(description="Worth a look, no more.")


class VersionInfo(BaseModel):
    """A published version."""

    version: _Version
    number: int = Field(description="Counts from 1.")
    note: str
    published_at: Instant
    published_by: str


class VersionPage(BaseModel):
    """Versions, the last one first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [EXAMPLE_VERSION], "next_cursor": None}]}
    )

    items: list[VersionInfo]
    next_cursor: str | None


class Version(VersionInfo):
    """A published version with its content."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**EXAMPLE_VERSION, "content": EXAMPLE_CONTENT}]}
    )

    content: dict[str, Any]


class Publication(Version):
    """A publication."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **EXAMPLE_VERSION,
                    "content": EXAMPLE_CONTENT,
                    "is_new": True,
                    "in_force": True,
                    "etag": EXAMPLE_INFO["etag"],
                }
            ]
        }
    )

    is_new: bool = Field(description="False where this content was published before.")
    in_force: bool = Field(
        description="False while Redis could not be told; it is told as soon as it answers."
    )
    etag: str


class FieldDifference(BaseModel):
    """A field that differs; `before` or `after` is null for one that is not there."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any


class Differences(BaseModel):
    """The fields in which two contents of an action differ. Lists are compared as a whole."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "before": "7d1e8f20c3ba",
                    "after": "0f3c2a9b71de",
                    "items": [
                        {
                            "path": "limits.max_output_tokens",
                            "kind": "changed",
                            "before": 300,
                            "after": 200,
                        }
                    ],
                }
            ]
        }
    )

    before: str
    after: str
    items: list[FieldDifference]


class ChangeMade(BaseModel):
    """A change of an action."""

    number: int
    kind: str = Field(description="`created`, `published`, `archived` or `restored`.")
    version: str | None
    note: str
    changed_at: Instant
    changed_by: str


class ChangePage(BaseModel):
    """Changes, the last one first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "number": 3,
                            "kind": "published",
                            "version": "0f3c2a9b71de",
                            "note": "Shorter prompt",
                            "changed_at": "2026-07-09T14:05:12.345Z",
                            "changed_by": "key 5f0c6a1e2b3d4c5f",
                        }
                    ],
                    "next_cursor": "3",
                }
            ]
        }
    )

    items: list[ChangeMade]
    next_cursor: str | None


class Use(BaseModel):
    """A campaign that ran an action."""

    workspace_id: str
    campaign_id: str
    executions: int
    charged_mc: int
    last_run_at: Instant = Field(
        description="The begin of the quarter of an hour in which the last execution ended."
    )


class Uses(BaseModel):
    """The campaigns that ran an action, those that ran it last first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "workspace_id": "retail",
                            "campaign_id": "welcome",
                            "executions": 4200,
                            "charged_mc": 1260000,
                            "last_run_at": "2026-07-09T14:00:00.000Z",
                        }
                    ]
                }
            ]
        }
    )

    items: list[Use]


def action_answer(action: StoredAction, checked: CheckedDraft) -> Action:
    """Return an action with what the checks say of its draft."""
    return Action(
        **action_json(action),
        draft=action.draft,
        draft_version=None if checked.spec is None else checked.spec.version,
        mistakes=[_mistake(one) for one in checked.mistakes],
        warnings=[_mistake(one) for one in checked.warnings],
    )


def difference_answer(found: Difference) -> FieldDifference:
    """Return a field that differs."""
    return FieldDifference(path=found.path, kind=found.kind, before=found.before, after=found.after)


def use_answer(use: UsedIn) -> Use:
    """Return a campaign that ran an action."""
    return Use(
        workspace_id=use.workspace_id,
        campaign_id=use.campaign_id,
        executions=use.executions,
        charged_mc=use.charged_mc,
        last_run_at=instant_text(use.last_run_ms),
    )


def field_of(mistake: DraftMistake) -> str:
    """Return the path of a mistake in the body that has the draft."""
    return f"draft.{mistake.field}" if mistake.field else "draft"


def _mistake(mistake: DraftMistake) -> Mistake:
    return Mistake(field=field_of(mistake), message=mistake.message, line=mistake.line)
