"""Runs an action for sample people, on one or several models and settings side by side."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending, Source
from runtime.actions.spec import ActionSpec
from runtime.campaigns.fit import missing_attributes
from runtime.credits.results import LedgerUnavailable
from runtime.executions.action_runtime import ActionRuntime
from runtime.executions.execution import Execution
from runtime.previews.mock_model import MockProvider

MOST_PREVIEWS = 100
"""Of one call: people times variants."""


@dataclass(frozen=True, slots=True)
class SamplePerson:
    """Somebody to run the action for: an id to tell people apart, and what templates read."""

    person_id: str
    data: Mapping[str, Mapping[str, Any]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the actions to compare: the action itself, or with another model or settings."""

    name: str
    spec: ActionSpec


@dataclass(frozen=True, slots=True)
class PreviewOrder:
    """A call for previews: every person with every variant.

    Args:
        free: run on the mock model, without credits.

    Raises:
        ValueError: it asks for none, or for more than ``MOST_PREVIEWS``.
    """

    account_id: str
    workspace_id: str
    campaign_id: str
    people: Sequence[SamplePerson]
    variants: Sequence[Variant]
    free: bool = False

    def __post_init__(self) -> None:
        asked = len(self.people) * len(self.variants)
        if not 1 <= asked <= MOST_PREVIEWS:
            raise ValueError(
                f"{len(self.people)} people times {len(self.variants)} variants: "
                f"must be 1 to {MOST_PREVIEWS} previews"
            )

    def requests(self) -> list[tuple[int, int, ExecutionRequest]]:
        """Return the executions, each with an id of its own, by person and then by variant.

        Raises:
            InvalidRequest: an id or the data of a person breaks its rule.
        """
        return [
            (p, v, self._request(person, variant.spec))
            for p, person in enumerate(self.people)
            for v, variant in enumerate(self.variants)
        ]

    def _request(self, person: SamplePerson, spec: ActionSpec) -> ExecutionRequest:
        return ExecutionRequest(
            execution_id=preview_id(spec.id),
            account_id=self.account_id,
            workspace_id=self.workspace_id,
            campaign_id=self.campaign_id,
            person_id=person.person_id,
            action=spec,
            data=person.data,
            source=Source.PREVIEW,
        )


@dataclass(frozen=True, slots=True)
class Preview:
    """One preview: the places of its person and its variant in the order, and how it ended.

    Args:
        missing: the paths that the prompts read and the person lacks; they may have defaults.
        execution: ``None`` where it ended before there was a prompt and a price.
    """

    person: int
    variant: int
    spec: ActionSpec
    missing: tuple[str, ...]
    result: ExecutionResult
    execution: Execution | None = field(repr=False)


def preview_id(action_id: str) -> str:
    """Return a new execution id: each click on a preview is an execution of its own."""
    return f"preview.{uuid.uuid4().hex}:{action_id}:1"


async def run_previews(runtime: ActionRuntime, order: PreviewOrder) -> list[Preview]:
    """Run all previews of an order at once; calls wait for their turns as those of campaigns do.

    Raises:
        InvalidRequest: an id or the data of a person breaks its rule; then none is run.
        LedgerUnavailable: an execution's end is not known yet.
        WrongEventLoop, RuntimeClosed: as ``ActionRuntime.execute``.
    """
    asked = order.requests()
    ended = await asyncio.gather(*(_run(runtime, request, order.free) for _, _, request in asked))
    return [
        _preview(p, v, order.people[p].data, order.variants[v].spec, *end)
        for (p, v, _), end in zip(asked, ended, strict=True)
    ]


async def _run(
    runtime: ActionRuntime, request: ExecutionRequest, free: bool
) -> tuple[ExecutionResult, Execution | None]:
    if free:
        assert isinstance(request.action, ActionSpec)  # noqa: S101 - made by PreviewOrder
        return await runtime.execute_unpaid(request, MockProvider(request.action.json_schema))
    result, execution = await runtime.execute_traced(request)
    if isinstance(result, Pending):
        raise LedgerUnavailable(f"the execution {result.execution_id} has not ended")
    return result, execution


def _preview(
    person: int,
    variant: int,
    data: Mapping[str, Mapping[str, Any]],
    spec: ActionSpec,
    result: ExecutionResult,
    execution: Execution | None,
) -> Preview:
    known = {(scope, name) for scope, names in data.items() for name in names}
    return Preview(person, variant, spec, missing_attributes(spec, known), result, execution)
