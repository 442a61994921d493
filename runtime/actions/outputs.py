"""The request for typed outputs that a model gets, and the reading of its answer.

Each output is read by itself: a value that does not fit affects no other.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from runtime.actions.output_types import (
    NAME_PATTERN,
    BooleanOutput,
    MultiSelectOutput,
    NumberOutput,
    SingleSelectOutput,
    TextOutput,
    Unfit,
)

__all__ = [
    "NAME_PATTERN",
    "BooleanOutput",
    "MultiSelectOutput",
    "NumberOutput",
    "OutputField",
    "ParsedAnswer",
    "SingleSelectOutput",
    "TextOutput",
    "instruction",
    "json_schema",
    "longest_answer",
    "parse",
]

OutputField = Annotated[
    TextOutput | NumberOutput | BooleanOutput | SingleSelectOutput | MultiSelectOutput,
    Field(discriminator="type"),
]


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The valid values of an answer, and the problems of the other outputs.

    Every output is in one of the two. A problem never quotes the answer.
    """

    values: dict[str, Any]
    invalid: dict[str, str]


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


def parse(text: str, outputs: Mapping[str, OutputField]) -> ParsedAnswer:
    """Return the values of a model's answer, from the first JSON object in it.

    Forgiven are thoughts before the answer, code fences and prose round the object, an object or
    a list round it, commas before a closing bracket, comments to the line's end, line breaks
    within strings, names in another case, numbers and booleans written as text, another case of
    an option, one option instead of a list, and an option named twice. Never raises; every value
    is valid, plain JSON, and can be stored as UTF-8.
    """
    answer = _first_object(_THOUGHTS.sub("", text, count=1))
    if answer is None:
        return ParsedAnswer({}, dict.fromkeys(outputs, "the answer holds no valid JSON object"))
    if not answer.keys() & outputs.keys():
        answer = _unwrapped(answer)
    if not answer.keys() >= outputs.keys():
        answer |= _named_loosely(answer, outputs)
    values: dict[str, Any] = {}
    invalid: dict[str, str] = {}
    for name, output in outputs.items():
        if name not in answer:
            invalid[name] = "is missing"
            continue
        if answer[name] is _CONTRADICTION:
            invalid[name] = "is given twice, with different values"
            continue
        try:
            values[name] = output.read(answer[name])
        except Unfit as error:
            invalid[name] = str(error)
    return ParsedAnswer(values, invalid)


def longest_answer(outputs: Mapping[str, OutputField]) -> str:
    """Return the longest valid answer, as indented JSON.

    Its texts take one token a character; real texts take fewer.
    """
    longest = {name: output.longest() for name, output in outputs.items()}
    return json.dumps(longest, ensure_ascii=False, indent=2)


def _integer(digits: str) -> int | float:
    # int() refuses thousands of digits with an error that would spoil the whole answer.
    return int(digits) if len(digits) <= 400 else math.inf


_CONTRADICTION = object()
"""Stands for a name with two values, of which either may be meant."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, value in pairs:
            if not _same(found[name], value):
                found[name] = _CONTRADICTION
    return found


def _same(one: Any, other: Any) -> bool:
    # To Python, 1 is True, and nested values may lie too deep to be compared.
    return one is other or (
        type(one) in (str, int, float) and type(one) is type(other) and one == other
    )


_DECODER = json.JSONDecoder(strict=False, parse_int=_integer, object_pairs_hook=_object)
_OBJECT_START = re.compile(r'\{\s*(?:["}]|//)')
_THOUGHTS = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_STRING = r'("(?:[^"\\]|\\.)*+")'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*", re.DOTALL)
_LAST_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)


def _first_object(text: str) -> dict[str, Any] | None:
    start = _OBJECT_START.search(text)
    if start is None:
        return None
    # Only one place is tried: inside a broken object, the next brace may be in a text that the
    # model quotes, and a person's words would be taken for the answer.
    found = _decoded(text, start.start())
    if found is None:
        bare = _COMMENT.sub(r"\1", text[start.start() :])
        found = _decoded(_LAST_COMMA.sub(r"\1", bare), 0)
    return found


def _decoded(text: str, start: int) -> dict[str, Any] | None:
    try:
        found, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _unwrapped(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the object that is an answer's one value, as in ``{"answer": {...}}``."""
    inner = next(iter(answer.values()), None)
    return inner if len(answer) == 1 and isinstance(inner, dict) else answer


def _named_loosely(answer: Mapping[str, Any], outputs: Mapping[str, OutputField]) -> dict[str, Any]:
    """Return the values whose names match one output but for upper and lower case."""
    missing = [name for name in outputs if name not in answer]
    lowered = [name.lower() for name in outputs]
    pairs = [(key.strip(), value) for key, value in answer.items() if key not in outputs]
    # Only ASCII: to Unicode, the sign for kelvin is a capital k.
    meant = _object([(key.lower(), value) for key, value in pairs if key.isascii()])
    return {
        name: meant[name.lower()]
        for name in missing
        if name.lower() in meant and lowered.count(name.lower()) == 1
    }
