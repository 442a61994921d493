"""The mock model. Its answers follow a JSON Schema; equal requests get equal answers."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pricing.tokens import TokenCounter, load_encoding
from providers.mock import hostile
from providers.mock.options import AnswerKind, MockOptions, Scenario, UsageKind

Value = Any
"""A JSON value."""

_SENTENCES = (
    "Thank you for writing to us.",
    "We have had a look at your question.",
    "Your request is in good hands.",
    "You can see the details in the app at any time.",
    "The change is visible within one working day.",
    "Please open the app and choose Settings.",
    "There is nothing else that you need to do.",
    "A colleague will come back to you shortly.",
    "Let us know whether this helps.",
    "We are glad to have you with us.",
)
_MAX_DEPTH = 24
_MORE_TRIES = 20
"""To find another answer than a good one."""
_CHARS_PER_TOKEN = 4
"""Hostile texts are too long to be counted."""

_NUMBER = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_DESCRIBED_LIMITS = {
    "minLength": re.compile(r"at least (\d+) (?:and at most \d+ )?characters", re.IGNORECASE),
    "maxLength": re.compile(r"at most (\d+) characters", re.IGNORECASE),
    "minimum": re.compile(rf"from {_NUMBER} to ", re.IGNORECASE),
    "maximum": re.compile(rf"from {_NUMBER} to {_NUMBER}", re.IGNORECASE),
    "minItems": re.compile(r"(\d+)(?: to \d+)? of the options", re.IGNORECASE),
    "maxItems": re.compile(r"(\d+) of the options", re.IGNORECASE),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, independent of any provider's format.

    ``model`` is empty if the address names the model. ``context`` is what the model reads besides
    the messages: schema and tools as text. ``forced_tool`` is the tool that the answer must call,
    with arguments that follow ``schema``. ``sends_schema`` is true if the request has the schema
    as its response format, and not only in its messages.
    """

    model: str
    messages: list[dict[str, str]]
    schema: Mapping[str, Any] | None
    context: str
    max_output_tokens: int | None
    forced_tool: str | None = None
    sends_schema: bool = False

    def digest(self, seed: int) -> bytes:
        """Return a digest of this request under this seed."""
        content = json.dumps([seed, self.model, self.messages], ensure_ascii=True)
        return hashlib.blake2b(content.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and the tokens that it used, independent of any provider's format.

    ``input_tokens`` include ``cached_tokens`` and ``cache_write_tokens``; ``output_tokens`` include
    ``reasoning_tokens``. ``cut`` is true if a token limit ended the answer.
    """

    kind: AnswerKind
    text: str
    cut: bool
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    usage: UsageKind


class MockModel:
    """Answers requests. It keeps no state except a cache of token counts."""

    def __init__(self, options: MockOptions) -> None:
        self._options = options
        self._counter = TokenCounter(options.encoding)

    def warm_up(self) -> None:
        """Load the encoding."""
        self._counter.warm_up()

    def answer(self, asked: Asked, scenario: Scenario) -> Answer:
        """Return the answer to a request, cut at its token limit."""
        chance = random.Random(asked.digest(self._options.seed))  # noqa: S311 - no secret
        text = _text(asked.schema, scenario.answer, chance)
        if scenario.hostile.changes_text:
            return self._hostile_answer(asked, scenario, text)
        encoding = load_encoding(self._options.encoding)
        tokens = encoding.encode_ordinary(text)

        thinks = self._options.draw_reasoning_tokens(chance)
        thinks = thinks if scenario.reasoning_tokens is None else scenario.reasoning_tokens
        if scenario.answer is AnswerKind.PROMPT_BLOCKED:
            thinks = 0
        limit = asked.max_output_tokens
        if scenario.answer is AnswerKind.TRUNCATED:
            tokens = tokens[: max(1, len(tokens) // 2)]
            if limit is None:
                limit = thinks + len(tokens)
            # A truncated answer repeats itself until the limit, as confused models do.
            babble = encoding.encode_ordinary(" and so on")
            tokens += babble * (1 + limit // len(babble))
        limit = thinks + len(tokens) if limit is None else limit
        reasoning_tokens = min(thinks, limit)
        kept = tokens[: limit - reasoning_tokens]
        cut = thinks + len(tokens) > limit

        input_tokens = self._input_tokens(asked)
        cached_tokens = int(input_tokens * self._options.cached_tokens_share)
        if scenario.cached_tokens is not None:
            cached_tokens = min(scenario.cached_tokens, input_tokens)
        written_tokens = min(scenario.cache_write_tokens, input_tokens - cached_tokens)
        return Answer(
            kind=AnswerKind.TRUNCATED if cut else scenario.answer,
            text=encoding.decode(kept) if cut else text,
            cut=cut,
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            cache_write_tokens=written_tokens,
            output_tokens=reasoning_tokens + len(kept),
            reasoning_tokens=reasoning_tokens,
            usage=scenario.usage,
        )

    def _hostile_answer(self, asked: Asked, scenario: Scenario, good: str) -> Answer:
        chance = random.Random(asked.digest(self._options.seed + 1))  # noqa: S311 - no secret
        other = good
        for _ in range(_MORE_TRIES):
            other = _text(asked.schema, scenario.answer, chance) if other == good else other
        text = hostile.text(scenario.hostile, good, other, asked.messages[-1]["content"])
        limit = asked.max_output_tokens or len(text)
        return Answer(
            kind=scenario.answer,
            text=text,
            cut=False,
            input_tokens=self._input_tokens(asked),
            cached_tokens=0,
            cache_write_tokens=0,
            output_tokens=max(1, min(limit - 1, len(text) // _CHARS_PER_TOKEN)),
            reasoning_tokens=0,
            usage=scenario.usage,
        )

    def _input_tokens(self, asked: Asked) -> int:
        return self._counter.count_messages(asked.messages) + self._counter.count_text(
            asked.context
        )


def _text(schema: Mapping[str, Any] | None, kind: AnswerKind, chance: random.Random) -> str:
    if kind in (AnswerKind.EMPTY, AnswerKind.FILTERED, AnswerKind.PROMPT_BLOCKED):
        return ""
    if kind is AnswerKind.REFUSAL:
        return "I'm sorry, I can't help with that."
    if schema is None:
        return _prose(chance, least=40, most=240)
    good = _json(value_for(schema, chance))
    if kind is AnswerKind.BROKEN_JSON:
        return _broken(good)
    if kind in (AnswerKind.WRONG_TYPES, AnswerKind.UNKNOWN_OPTION):
        spoilt = _json(_spoil(json.loads(good), schema, schema, kind))
        return spoilt if spoilt != good else _broken(good)
    return good


def _json(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _broken(text: str) -> str:
    return text[: max(1, len(text) * 2 // 3)]


def value_for(schema: Mapping[str, Any], chance: random.Random) -> Value:
    """Return a short, plausible value in English that a JSON Schema allows.

    Supports ``enum``, ``const``, ``$ref`` into the same schema, ``anyOf``, ``oneOf``, objects,
    bounds of numbers, and lengths of strings and arrays, but not ``pattern`` or ``multipleOf``.
    Like a model, it also follows limits that a description states, because some schema modes have
    no keywords for them: "at most 80 characters", "from 1 to 5", "1 to 3 of the options".
    """
    return _Walk(schema, chance).value(schema, 0)


class _Walk:
    def __init__(self, root: Mapping[str, Any], chance: random.Random) -> None:
        self._root = root
        self._chance = chance
        self._by_type: dict[str, Callable[[Mapping[str, Any], int], Value]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
            "boolean": lambda schema, depth: chance.random() < 0.5,
        }

    def value(self, schema: Mapping[str, Any], depth: int) -> Value:
        schema = _resolved(self._root, schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._chance.choice(schema["enum"])
        kind = _type_of(schema)
        if depth > _MAX_DEPTH or kind not in self._by_type:
            return None
        return self._by_type[kind](_with_described_limits(schema), depth)

    def _object(self, schema: Mapping[str, Any], depth: int) -> Value:
        properties = schema.get("properties", {})
        return {name: self.value(part, depth + 1) for name, part in properties.items()}

    def _array(self, schema: Mapping[str, Any], depth: int) -> Value:
        items = _resolved(self._root, schema.get("items", {"type": "string"}))
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, 3))
        if "enum" in items:
            options = list(dict.fromkeys(items["enum"]))
            size = self._chance.randint(min(least, len(options)), min(most, len(options)))
            return self._chance.sample(options, size)
        return [self.value(items, depth + 1) for _ in range(self._chance.randint(least, most))]

    def _string(self, schema: Mapping[str, Any], depth: int) -> Value:
        least = schema.get("minLength", 0)
        most = schema.get("maxLength", max(least, 160))
        return _prose(self._chance, least=least, most=most)

    def _integer(self, schema: Mapping[str, Any], depth: int) -> Value:
        low, high = _bounds(schema)
        low, high = math.ceil(low), math.floor(high)
        low += low == schema.get("exclusiveMinimum")
        high -= high == schema.get("exclusiveMaximum")
        return self._chance.randint(low, max(low, high))

    def _number(self, schema: Mapping[str, Any], depth: int) -> Value:
        low, high = _bounds(schema)
        exact = low + (high - low) * self._chance.uniform(0.05, 0.95)
        rounded = round(exact, 2)
        return rounded if low < rounded < high else exact


def _resolved(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references and take the first alternative that is not null."""
    for _ in range(_MAX_DEPTH):
        alternatives = schema.get("anyOf") or schema.get("oneOf")
        if "$ref" in schema:
            target: Any = root
            for name in schema["$ref"].removeprefix("#").strip("/").split("/"):
                target = target.get(name, {}) if name else target
            schema = target
        elif alternatives:
            schema = next((one for one in alternatives if _type_of(one) != "null"), {})
        else:
            return schema
    return {}


def _type_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        return next((one for one in kind if one != "null"), "null")
    return str(kind)


def _with_described_limits(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    description = schema.get("description")
    if not isinstance(description, str):
        return schema
    limits: dict[str, float] = {}
    for keyword, pattern in _DESCRIBED_LIMITS.items():
        # The last mention counts: creditgate appends its limits to the author's text.
        for found in pattern.finditer(description):
            number = found.groups()[-1]
            limits[keyword] = int(number) if number.lstrip("-").isdigit() else float(number)
    return {**limits, **schema}


def _bounds(schema: Mapping[str, Any]) -> tuple[float, float]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 0 if high is None or high >= 0 else high - 100
    if high is None:
        high = max(low + 100, 100)
    return low, high


def _prose(chance: random.Random, *, least: int, most: int) -> str:
    """Return whole sentences if the length allows, otherwise whole words, otherwise letters."""
    fitting = [sentence for sentence in _SENTENCES if len(sentence) <= most]
    if not fitting:
        words = chance.choice(_SENTENCES)[:most]
        whole = words.rpartition(" ")[0]
        return whole if len(whole) >= max(least, 1) else words
    text = chance.choice(fitting)
    wanted = max(least, chance.randint(0, min(most, 160)))
    while len(text) < wanted:
        text += " " + chance.choice(_SENTENCES)
    if len(text) <= most:
        return text
    whole = text[: most + 1].rpartition(" ")[0]
    return whole if len(whole) >= least else text[:most]


def _spoil(
    value: Value, root: Mapping[str, Any], schema: Mapping[str, Any], kind: AnswerKind
) -> Value:
    """Put a value of the wrong type, or an unknown option, into every output."""
    schema = _resolved(root, schema)
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        return {name: _spoil(part, root, parts.get(name, {}), kind) for name, part in value.items()}
    if kind is AnswerKind.UNKNOWN_OPTION:
        if isinstance(value, list):
            return ["none_of_these"] if "enum" in schema.get("items", {}) else value
        return "none_of_these" if "enum" in schema else value
    if isinstance(value, bool):
        return "perhaps"
    return "a lot" if isinstance(value, int | float) else {"unexpected": True}
