"""The messages of a prompt for one model, and how many input tokens they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.base import Message
from runtime.actions.spec import ActionSpec
from runtime.catalog.models import Model


def render_prompt(
    model: Model,
    action: ActionSpec,
    data: Mapping[str, Mapping[str, Any]],
    compliance_prompt: str = "",
) -> tuple[list[Message], Mapping[str, Any] | None]:
    """Return the messages for one person, and the schema that is sent with them.

    A model that follows no JSON Schema gets an instruction in the prompt instead, with the schema
    if it can be held to JSON.

    Args:
        data: the scopes that templates read.
        compliance_prompt: opens the system message.

    Raises:
        PromptError: a template reads something that ``data`` does not hold, or failed.
    """
    sends_schema = model.json_schema is True
    messages = action.render(
        data,
        with_instruction=not sends_schema,
        with_schema=model.json_schema == "json_object",
        prepend=compliance_prompt,
    )
    return messages, action.json_schema if sends_schema else None


def count_prompt(
    model: Model,
    action: ActionSpec,
    data: Mapping[str, Mapping[str, Any]],
    compliance_prompt: str = "",
) -> int:
    """Return an upper bound of the input tokens of a prompt for one person.

    Instruction or schema is counted. A long prompt takes more CPU than an event loop may spend.

    Args:
        data, compliance_prompt: as ``render_prompt`` has them.

    Raises:
        PromptError: as ``render_prompt``.
    """
    messages, schema = render_prompt(model, action, data, compliance_prompt)
    return model.counter.count_messages(messages, schema)
