"""The request for typed outputs that a model gets. Its answer is read in ``answers``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from runtime.actions.output import NAME_PATTERN
from runtime.actions.plain_outputs import BooleanOutput, NumberOutput, TextOutput
from runtime.actions.select_outputs import MultiSelectOutput, SingleSelectOutput

__all__ = [
    "NAME_PATTERN",
    "BooleanOutput",
    "MultiSelectOutput",
    "NumberOutput",
    "OutputField",
    "SingleSelectOutput",
    "TextOutput",
    "instruction",
    "json_schema",
    "longest_answer",
    "schema_instruction",
]

OutputField = Annotated[
    TextOutput | NumberOutput | BooleanOutput | SingleSelectOutput | MultiSelectOutput,
    Field(discriminator="type"),
]


def json_schema(outputs: Mapping[str, OutputField]) -> dict[str, Any]:
    """Return the JSON Schema of an answer, in the form that strict schema modes accept.

    Every property is required and no other one allowed. Limits are said in the descriptions, as
    the modes differ in keywords: OpenAI documents ``minimum``, ``maximum``, ``minItems`` and
    ``maxItems``, but not for fine-tuned models, and neither ``maxLength`` nor ``uniqueItems``
    (Structured Outputs guide, "Supported schemas"); Anthropic refuses limits of numbers and texts,
    and ``minItems`` above 1 (Structured outputs, "JSON Schema limitations").
    """
    return {
        "type": "object",
        "properties": {name: _property(output) for name, output in outputs.items()},
        "required": list(outputs),
        "additionalProperties": False,
    }


def _property(output: OutputField) -> dict[str, Any]:
    limits = output.limits()
    sentences = (output.description, f"{limits[:1].upper()}{limits[1:]}." if limits else "")
    description = " ".join(sentence for sentence in sentences if sentence)
    return {
        **output.schema_type(),
        **({"description": description} if description else {}),
    }


def instruction(outputs: Mapping[str, OutputField]) -> str:
    """Return the form of the answer in words, for models that follow no JSON Schema."""
    lines = [
        "Answer with one JSON object and nothing else: no other text, no code fence.",
        "It has exactly these fields:",
    ]
    for name, output in outputs.items():
        about = f" ({output.description})" if output.description else ""
        lines.append(f'- "{name}"{about}: {output.phrase()}')
    return "\n".join(lines)


def schema_instruction(schema: Mapping[str, Any]) -> str:
    """Return the form of the answer as a JSON Schema in words.

    It has the word JSON in it, without which OpenAI refuses ``json_object``:
    https://platform.openai.com/docs/guides/structured-outputs, "JSON mode".
    """
    return (
        "Answer with one JSON object and nothing else: no other text, no code fence. "
        "It is an instance of this JSON Schema, not the schema itself:\n"
        f"{json.dumps(schema, ensure_ascii=False, separators=(',', ':'))}"
    )


def longest_answer(outputs: Mapping[str, OutputField]) -> str:
    """Return the longest valid answer, as indented JSON.

    Its texts take one token a character; real texts take fewer.
    """
    longest = {name: output.longest() for name, output in outputs.items()}
    return json.dumps(longest, ensure_ascii=False, indent=2)
