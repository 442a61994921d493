"""The messages of a prompt for one model, and how many input tokens they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.base import Message
from runtime.actions.spec import ActionSpec
from runtime.catalog.models import Model


def count_prompt(
    model: Model,
    action: ActionSpec,
    data: Mapping[str, Mapping[str, Any]],
    compliance_prompt: str = "",
) -> tuple[list[Message], int]:
    """Return the messages for one person and an upper bound of their input tokens.

    A model that follows no JSON Schema gets an instruction in the prompt instead; either is
    counted.

    Args:
        data: the scopes that templates read.
        compliance_prompt: opens the system message.

    Raises:
        PromptError: a template reads something that ``data`` does not hold, or failed.
    """
    messages = action.render(
        data, with_instruction=not model.json_schema, prepend=compliance_prompt
    )
    schema = action.json_schema if model.json_schema else None
    return messages, model.counter.count_messages(messages, schema)
