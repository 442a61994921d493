"""Checks of a draft: by the rules of a config file's actions, and against the configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import ValidationError

from runtime.actions.prompts import PromptSyntaxError
from runtime.actions.spec import ActionSpec
from runtime.catalog.parameters import refused_parameters
from runtime.config import Config
from runtime.config.checks import Checker, Finding
from runtime.config.document import ValuePath, show_path
from runtime.config.loader import STAND_INS
from runtime.config.messages import explain, value_path

MOST_DRAFT_BYTES = 262_144
"""The most bytes of a draft, as JSON with escapes."""
MOST_MISTAKES = 100
_ROOT = 2  # actions and the id come first in the paths of a config


@dataclass(frozen=True, slots=True)
class DraftMistake:
    """A mistake in a draft, or a warning.

    ``path`` is like ``outputs.intent.fallback``, and empty for the draft as a whole; ``line`` is
    the line within a template, from 1.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line}: "
        return f"{self.path or 'the draft'}: {line}{self.message}"


@dataclass(frozen=True, slots=True)
class CheckedDraft:
    """A draft's spec, ``None`` if it has mistakes; ``warnings`` are worth a look, no more."""

    spec: ActionSpec | None
    mistakes: tuple[DraftMistake, ...] = ()
    warnings: tuple[DraftMistake, ...] = ()


def draft_text(draft: Mapping[str, Any]) -> str:
    """Return a draft as it is stored.

    Raises:
        ValueError: it is too large, nested too deeply, or has a number that JSON does not have.
    """
    try:
        text = json.dumps(draft, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError:
        raise ValueError("holds NaN or Infinity, which are not JSON") from None
    if len(text) > MOST_DRAFT_BYTES:
        found = f"found {len(text):,} bytes, allowed are {MOST_DRAFT_BYTES:,}"
        raise ValueError(f"{found} as JSON with escapes")
    return text


def check_draft(
    config: Config, action_id: str, draft: Mapping[str, Any], now: datetime
) -> CheckedDraft:
    """Return what a draft of an action becomes, by a configuration.

    It may take some 100 ms of CPU: run it in a thread.

    Args:
        now: decides about the rate cards in force, and about models that retire.
    """
    mistakes: list[DraftMistake] = []
    wrong: set[ValuePath] = set()
    spec: ActionSpec | None
    try:
        spec = ActionSpec.model_validate({"id": action_id, **draft})
    except ValidationError as error:
        spec = None
        for path, mistake in _translated(error, action_id):
            mistakes.append(mistake)
            wrong.add(path)
    checked = spec or _with_stand_ins(action_id, draft, wrong)
    warnings: list[DraftMistake] = []
    if checked is not None:
        for finding in Checker(config, now, frozenset(wrong)).findings_of(checked):
            (warnings if finding.warning else mistakes).append(_of_finding(finding))
    if spec is not None and not mistakes:
        alone = config.model_copy(update={"actions": {action_id: spec}})
        prefix = f"actions.{action_id}."
        mistakes.extend(
            DraftMistake(refused.path.removeprefix(prefix), refused.message)
            for refused in refused_parameters(alone)
        )
    return CheckedDraft(
        None if mistakes else spec, tuple(mistakes[:MOST_MISTAKES]), tuple(warnings[:MOST_MISTAKES])
    )


@cache
def _schema() -> dict[str, Any]:
    return Config.model_json_schema()


def _translated(error: ValidationError, action_id: str) -> list[tuple[ValuePath, DraftMistake]]:
    translated = []
    for detail in error.errors(include_url=False):
        detail["loc"] = ("actions", action_id, *detail["loc"])
        path = value_path(detail["loc"], _schema())
        reason = detail.get("ctx", {}).get("error")
        line = reason.line if isinstance(reason, PromptSyntaxError) else None
        shown = show_path(path[_ROOT:])
        translated.append((path, DraftMistake(shown, explain(detail, _schema()), line)))
    return translated


def _of_finding(finding: Finding) -> DraftMistake:
    return DraftMistake(show_path(finding.path[_ROOT:]), finding.message)


def _with_stand_ins(
    action_id: str, draft: Mapping[str, Any], wrong: set[ValuePath]
) -> ActionSpec | None:
    """Return the spec with other fields in the place of wrong ones, to check the rest."""
    stand_ins = STAND_INS["actions"]
    fields = {"id": action_id, **stand_ins, **draft}
    for path in wrong:
        name = str(path[_ROOT]) if len(path) > _ROOT else "id"
        fields.pop(name, None)
        if name in stand_ins:
            fields[name] = stand_ins[name]
    fields["id"] = fields.get("id", action_id)
    try:
        return ActionSpec.model_validate(fields)
    except ValidationError:
        return None
