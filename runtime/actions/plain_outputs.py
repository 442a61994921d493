"""Outputs that hold text, a number, or true or false."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from runtime.actions.output import Count, Output, Unfit, check_order, kind_of, storable

_NUMBER_LIMIT = 2**53 - 1
"""Beyond it, JSON readers disagree about integers (RFC 8259, section 6)."""

_DENSE_TEXT = "天地玄黄宇宙洪荒"
"""Text of one token a character with o200k_base; a real answer of that length takes fewer."""

_NUMBER_TEXT = re.compile(r"[-+]?[0-9]{1,32}(\.[0-9]{1,32})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_UNSEEN = re.compile(
    "[\\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*+"
)
"""White space, controls, and what Unicode calls default ignorable: none of it is visible."""


def _check_limit(value: Any) -> int | float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Written so that nan is refused too.
    if is_number and -_NUMBER_LIMIT <= value <= _NUMBER_LIMIT:
        return int(value) if isinstance(value, int) else float(value)
    raise ValueError(
        f"must be a number from -{_NUMBER_LIMIT} to {_NUMBER_LIMIT}, found {value!r:.200}"
    )


_Limit = Annotated[int | float, PlainValidator(_check_limit)]


class TextOutput(Output):
    """Text of ``min_length`` to ``max_length`` characters (code points).

    Empty text counts as no answer, and as no fallback, unless ``min_length`` is 0.
    """

    type: Literal["text"] = "text"
    max_length: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    min_length: Count = 1
    fallback: Any

    @field_validator("min_length")
    @classmethod
    def _check_min_length(cls, value: int, info: ValidationInfo) -> int:
        return check_order(value, info.data.get("max_length"), "min_length", "max_length")

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Unfit(f"must be text, found {kind_of(value)}")
        if value != storable(value):
            raise Unfit("holds the character NUL or lone surrogates, which nothing can store")
        if len(value) > self.max_length:
            raise Unfit(f"has {len(value)} characters, at most {self.max_length} are allowed")
        if len(value) < self.min_length:
            raise Unfit(f"has {len(value)} characters, at least {self.min_length} are needed")
        return str(value)

    def read(self, value: Any) -> str:
        if isinstance(value, str):
            value = storable(value.strip())
            # A text that nobody can see is empty.
            value = "" if _UNSEEN.fullmatch(value) else value
        return self.check(value)

    def limits(self) -> str:
        least = f"at least {self.min_length} and " if self.min_length > 1 else ""
        return f"{least}at most {self.max_length} characters"

    def phrase(self) -> str:
        return f"text of {self.limits()}"

    def schema_type(self) -> dict[str, Any]:
        return {"type": "string"}

    def longest(self) -> str:
        return (_DENSE_TEXT * (self.max_length // len(_DENSE_TEXT) + 1))[: self.max_length]


class NumberOutput(Output):
    """A number from ``minimum`` to ``maximum``, both included."""

    type: Literal["number"] = "number"
    minimum: _Limit
    maximum: _Limit
    integer: Annotated[bool, Field(strict=True)] = False
    fallback: Any

    @field_validator("maximum")
    @classmethod
    def _check_maximum(cls, value: float, info: ValidationInfo) -> float:
        minimum = info.data.get("minimum")
        if minimum is not None and minimum > value:
            raise ValueError(f"maximum is {value}, which is less than minimum, {minimum}")
        return value

    @field_validator("integer")
    @classmethod
    def _check_integer(cls, value: bool, info: ValidationInfo) -> bool:
        low, high = info.data.get("minimum"), info.data.get("maximum")
        if value and low is not None and high is not None and math.ceil(low) > math.floor(high):
            raise ValueError(f"there is no integer between minimum, {low}, and maximum, {high}")
        return value

    def check(self, value: Any) -> int | float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Unfit(f"must be a number, found {kind_of(value)}")
        # Written so that nan is refused too.
        if not self.minimum <= value <= self.maximum:
            raise Unfit(f"must be from {self.minimum} to {self.maximum}")
        if isinstance(value, int):
            return int(value)
        if not self.integer:
            return float(value)
        if not value.is_integer():
            raise Unfit("must be an integer")
        return int(value)

    def read(self, value: Any) -> int | float:
        if isinstance(value, str):
            text = value.strip()
            if _NUMBER_TEXT.fullmatch(text) is None:
                raise Unfit("must be a number, found other text")
            value = int(text) if text.lstrip("+-").isdigit() else float(text)
        return self.check(value)

    def limits(self) -> str:
        return f"from {self.minimum} to {self.maximum}"

    def phrase(self) -> str:
        return f"{'an integer' if self.integer else 'a number'} {self.limits()}"

    def schema_type(self) -> dict[str, Any]:
        return {"type": "integer" if self.integer else "number"}

    def longest(self) -> int | float:
        low, high = self.minimum, self.maximum
        if self.integer:
            return max(math.ceil(low), math.floor(high), key=lambda n: len(str(n)))
        between = low + (high - low) / 3
        inside = [n for n in (low, high, between) if low <= n <= high]
        return max(inside, key=lambda n: len(json.dumps(n)))


class BooleanOutput(Output):
    """True or false."""

    type: Literal["boolean"] = "boolean"
    fallback: Any

    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise Unfit(f"must be true or false, found {kind_of(value)}")
        return value

    def read(self, value: Any) -> bool:
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.strip().lower(), value)
        return self.check(value)

    def phrase(self) -> str:
        return "true or false"

    def schema_type(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def longest(self) -> bool:
        return False
