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
from runtime.config.document import ValuePath, show_path
from runtime.config.loader import STAND_INS
from runtime.config.messages import explain, value_path
from runtime.config.sections import Config

MOST_MISTAKES = 100
_NAME = "draft"
_ROOT: ValuePath = ("actions", _NAME)


@dataclass(frozen=True, slots=True)
class DraftMistake:
    """One mistake: the path of the field, and of a template the line, from 1.

    The path is empty for the draft as a whole.
    """

    field: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.field or 'the draft'}: {self.message}"


class DraftRefused(CreditgateError, ValueError):
    """An action that can't be used; ``mistakes`` are all that were found."""

    def __init__(self, mistakes: Sequence[DraftMistake]) -> None:
        super().__init__(str(mistakes[0]))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class CheckedDraft:
    """A draft's spec, ``None`` if it has mistakes; ``warnings`` are worth a look, no more."""

    spec: ActionSpec | None
    mistakes: tuple[DraftMistake, ...] = ()
    warnings: tuple[DraftMistake, ...] = ()


def read_draft(config: Config, fields: Mapping[str, Any]) -> ActionSpec:
    """Return the action, checked as one of the configuration: its models, prices and limits too.

    Compiling long templates takes a while: call it in a thread.

    Raises:
        DraftRefused: it has mistakes; all are named.
    """
    checked = check_draft(config, fields, datetime.now(UTC))
    if checked.spec is None:
        raise DraftRefused(checked.mistakes)
    return checked.spec


def check_draft(config: Config, fields: Mapping[str, Any], now: datetime) -> CheckedDraft:
    """Return the action, or its mistakes: those against the configuration too where it has others.

    Compiling long templates takes a while: call it in a thread.

    Args:
        now: decides about the rate cards in force, and about models that retire.
    """
    mistakes: list[DraftMistake] = []
    warnings: list[DraftMistake] = []
    wrong: set[ValuePath] = set()
    spec: ActionSpec | None
    try:
        spec = ActionSpec.model_validate(dict(fields))
    except ValidationError as error:
        spec = None
        for detail in error.errors(include_url=False):
            path, mistake = _translated(detail)
            mistakes.append(mistake)
            wrong.add(path)
    checked = spec or _with_stand_ins(fields, wrong)
    if checked is not None:
        for finding in Checker(config, now, frozenset(wrong)).findings_of(checked, _ROOT):
            found = DraftMistake(show_path(finding.path[len(_ROOT) :]), finding.message)
            (warnings if finding.warning else mistakes).append(found)
    return CheckedDraft(
        None if mistakes else spec, tuple(mistakes[:MOST_MISTAKES]), tuple(warnings[:MOST_MISTAKES])
    )


def _translated(detail: ErrorDetails) -> tuple[ValuePath, DraftMistake]:
    located = ErrorDetails({**detail, "loc": (*_ROOT, *detail["loc"])})
    path = value_path(located["loc"], _schema())
    reason = detail.get("ctx", {}).get("error")
    line = reason.line if isinstance(reason, PromptSyntaxError) else None
    field = show_path(path[len(_ROOT) :] or detail["loc"])
    return path, DraftMistake(field, explain(located, _schema()), line)


def _with_stand_ins(fields: Mapping[str, Any], wrong: set[ValuePath]) -> ActionSpec | None:
    """Return the action with other fields in the place of wrong ones, to check the rest."""
    stand_ins = {"id": _NAME, **STAND_INS["actions"]}
    kept = {**stand_ins, **fields}
    for path in wrong:
        name = str(path[len(_ROOT)]) if len(path) > len(_ROOT) else "id"
        kept.pop(name, None)
        if name in stand_ins:
            kept[name] = stand_ins[name]
    try:
        return ActionSpec.model_validate(kept)
    except ValidationError:
        return None


@cache
def _schema() -> dict[str, Any]:
    return Config.model_json_schema()
