"""Checks of a draft, and the text as which it is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from runtime.catalog.parameters import refused_parameters
from runtime.config import Config
from runtime.config.drafts import CheckedDraft, DraftMistake, check_draft

MOST_DRAFT_BYTES = 262_144
"""The most bytes of a draft, as JSON with escapes."""


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
        found = f"has {len(text):,} bytes, allowed are {MOST_DRAFT_BYTES:,}"
        raise ValueError(f"{found}, as JSON with escapes")
    return text


def check_action(
    config: Config, action_id: str, draft: Mapping[str, Any], now: datetime
) -> CheckedDraft:
    """Return what a draft of an action becomes, by a configuration.

    It may take some 100 ms of CPU: run it in a thread.

    Args:
        now: decides about the rate cards in force, and about models that retire.
    """
    if draft.get("id", action_id) != action_id:
        found = DraftMistake("id", f"must be {action_id!r}, or left out")
        checked = check_draft(config, {**draft, "id": action_id}, now)
        return replace(checked, spec=None, mistakes=(found, *checked.mistakes))
    checked = check_draft(config, {**draft, "id": action_id}, now)
    if checked.spec is None:
        return checked
    alone = config.model_copy(update={"actions": {action_id: checked.spec}})
    refused = refused_parameters(alone)
    if not refused:
        return checked
    prefix = f"actions.{action_id}."
    mistakes = (DraftMistake(one.path.removeprefix(prefix), one.message) for one in refused)
    return replace(checked, spec=None, mistakes=tuple(mistakes))
