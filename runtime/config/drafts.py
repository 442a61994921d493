"""Reads an action that is in no file, by the rules of those that are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pricing.errors import CreditgateError
from runtime.actions.prompts import PromptSyntaxError
from runtime.actions.spec import ActionSpec
from runtime.config.checks import Checker
from runtime.config.document import show_path
from runtime.config.messages import explain, value_path
from runtime.config.sections import Config


@dataclass(frozen=True, slots=True)
class DraftMistake:
    """One mistake: the path of the field, and of a template the line, from 1."""

    field: str
    message: str
    line: int | None = None


class DraftRefused(CreditgateError, ValueError):
    """An action that can't be used; ``mistakes`` are all that were found."""

    def __init__(self, mistakes: Sequence[DraftMistake]) -> None:
        first = mistakes[0]
        super().__init__(f"{first.field}: {first.message}")
        self.mistakes = tuple(mistakes)


def read_draft(config: Config, fields: Mapping[str, Any]) -> ActionSpec:
    """Return the action, checked as one of the configuration: its models, prices and limits too.

    Compiling long templates takes a while: call it in a thread.

    Raises:
        DraftRefused: it has mistakes; all are named.
    """
    try:
        spec = ActionSpec.model_validate(dict(fields))
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise DraftRefused([_mistake(detail) for detail in found]) from None
    check_draft(config, spec)
    return spec


def check_draft(config: Config, spec: ActionSpec) -> None:
    """Check an action against the configuration that it would run by.

    Raises:
        DraftRefused: it names a model that there is not, has no price, or takes too long.
    """
    found = [
        DraftMistake(show_path(finding.path[2:]), finding.message)
        for finding in Checker(config, datetime.now(UTC)).findings_of(spec)
        if not finding.warning
    ]
    if found:
        raise DraftRefused(found)


def _mistake(detail: ErrorDetails) -> DraftMistake:
    located = ErrorDetails({**detail, "loc": ("actions", "draft", *detail["loc"])})
    path = value_path(located["loc"], _schema())[2:] or detail["loc"]
    reason = detail.get("ctx", {}).get("error")
    line = reason.line if isinstance(reason, PromptSyntaxError) else None
    return DraftMistake(show_path(path), explain(located, _schema()), line)


@cache
def _schema() -> dict[str, Any]:
    return Config.model_json_schema()
