"""The types of outputs: limits, fallback values, and checks of values."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo, field_validator

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
"""The names of outputs: plain identifiers, which every provider's schema mode accepts."""

_NUMBER_LIMIT = 2**53 - 1
"""Beyond it, JSON readers disagree about integers (RFC 8259, section 6)."""

_DENSE_TEXT = "天地玄黄宇宙洪荒"
"""Text of one token a character with o200k_base; a real answer of that length takes fewer."""

_NUMBER_TEXT = re.compile(r"[-+]?[0-9]{1,32}(\.[0-9]{1,32})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_MOST_ITEMS = 2_000
"""The most items of a list that are compared with options, repeats included."""

_UNSEEN = re.compile(
    "[\\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*+"
)
"""White space, controls, and what Unicode calls default ignorable: nothing of it can be seen."""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def _check_limit(value: Any) -> int | float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Written so that nan is refused too.
    if is_number and -_NUMBER_LIMIT <= value <= _NUMBER_LIMIT:
        return int(value) if isinstance(value, int) else float(value)
    raise ValueError(
        f"must be a number from -{_NUMBER_LIMIT} to {_NUMBER_LIMIT}, found {value!r:.200}"
    )


_Limit = Annotated[int | float, PlainValidator(_check_limit)]
_Option = Annotated[str, Field(strict=True, min_length=1, max_length=200)]
_Count = Annotated[int, Field(strict=True, ge=0)]


class Unfit(ValueError):
    """A value that does not fit an output. The message says why, without the value."""


class _Output(BaseModel):
    """The settings that every output has.

    ``attribute`` is the name of the value in the store ``store_as``; by default the output's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    description: str = ""
    store_as: Literal["journey", "customer"] = "journey"
    attribute: (
        Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None

    @field_validator("fallback", check_fields=False)
    @classmethod
    def _check_fallback(cls, value: Any, info: ValidationInfo) -> Any:
        # A wrong limit is reported by itself, and then nothing can be said about the fallback.
        if cls.model_fields.keys() - info.data.keys() > {"fallback"}:
            return value
        try:
            return cls.model_construct(**info.data).check(value)
        except Unfit as error:
            raise ValueError(f"the fallback value {error}; it is {value!r:.200}") from None

    def limits(self) -> str:
        """Return the limits that JSON Schema keywords don't express, in words; may be empty."""
        return ""

    @abstractmethod
    def check(self, value: Any) -> Any:
        """Return a configured value in its plain form.

        Raises:
            Unfit: it is not of the output's type, or outside its limits.
        """

    def read(self, value: Any) -> Any:
        """Return a value from a model's answer, which may be written in a slightly different form.

        Raises:
            Unfit: it can't be understood as a valid value.
        """
        return self.check(value)


class TextOutput(_Output):
    """Text of ``min_length`` to ``max_length`` characters (code points).

    Empty text counts as no answer, and as no fallback, unless ``min_length`` is 0.
    """

    type: Literal["text"] = "text"
    max_length: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    min_length: _Count = 1
    fallback: Any

    @field_validator("min_length")
    @classmethod
    def _check_min_length(cls, value: int, info: ValidationInfo) -> int:
        return _check_order(value, info.data.get("max_length"), "min_length", "max_length")

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Unfit(f"must be text, found {_kind(value)}")
        if value != _storable(value):
            raise Unfit("holds the character NUL or lone surrogates, which nothing can store")
        if len(value) > self.max_length:
            raise Unfit(f"has {len(value)} characters, at most {self.max_length} are allowed")
        if len(value) < self.min_length:
            raise Unfit(f"has {len(value)} characters, at least {self.min_length} are needed")
        return str(value)

    def read(self, value: Any) -> str:
        if isinstance(value, str):
            value = _storable(value.strip())
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


class NumberOutput(_Output):
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
            raise Unfit(f"must be a number, found {_kind(value)}")
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


class BooleanOutput(_Output):
    """True or false."""

    type: Literal["boolean"] = "boolean"
    fallback: Any

    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise Unfit(f"must be true or false, found {_kind(value)}")
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


class _Select(_Output):
    options: Annotated[tuple[_Option, ...], Field(min_length=1, max_length=500)]

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        twice = [option for option in dict.fromkeys(options) if options.count(option) > 1]
        if twice:
            raise ValueError(f"options must differ, found more than once: {_quoted(twice)}")
        if any(option != _storable(option) for option in options):
            raise ValueError("options can't hold the character NUL or lone surrogates")
        # The limit of OpenAI's schema mode; see json_schema.
        length = sum(map(len, options))
        if len(options) > 250 and length > 15_000:
            raise ValueError(
                f"more than 250 options may have 15,000 characters together, found {length:,}"
            )
        return options

    @cached_property
    def _named(self) -> dict[str, str]:
        return {option: option for option in self.options}

    @cached_property
    def _loosely_named(self) -> dict[str, str]:
        """Options by their text regardless of case and composition, if only one option matches."""
        folded: dict[str, list[str]] = {}
        for option in self.options:
            folded.setdefault(_loosely(option), []).append(option)
        return {text: found[0] for text, found in folded.items() if len(found) == 1}

    def _option_named(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Unfit(f"must be one of the options, found {_kind(value)}")
        if value not in self._named:
            raise Unfit(f"must be one of the {len(self.options)} options")
        return self._named[value]

    @cached_property
    def _longest_loosely(self) -> int:
        # Taken apart, a character has at most four; folding it gives at most three.
        return 4 * max(map(len, self.options))

    def _option_meant(self, value: Any) -> str:
        """Return the option that a value names in another case, or as a number or boolean."""
        if isinstance(value, bool):
            value = json.dumps(value)
        elif isinstance(value, (int, float)) and math.isfinite(value):
            written = json.dumps(value)
            value = written if written in self._named else written.removesuffix(".0")
        if isinstance(value, str) and value not in self._named:
            text = value.strip()
            # Long texts are not looked at: composing accents can take the square of their length.
            if text in self._named or len(text) > self._longest_loosely:
                value = text
            else:
                value = self._loosely_named.get(_loosely(text), value)
        return self._option_named(value)


class SingleSelectOutput(_Select):
    """One of the options."""

    type: Literal["single_select"] = "single_select"
    fallback: Any

    def check(self, value: Any) -> str:
        return self._option_named(value)

    def read(self, value: Any) -> str:
        return self._option_meant(value)

    def phrase(self) -> str:
        return f"one of {_quoted(self.options)}"

    def schema_type(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.options)}

    def longest(self) -> str:
        return max(self.options, key=_bytes)


class MultiSelectOutput(_Select):
    """``min_items`` to ``max_items`` of the options, each at most once; ``None`` means all."""

    type: Literal["multi_select"] = "multi_select"
    min_items: _Count = 0
    max_items: Annotated[int, Field(strict=True, ge=1)] | None = None
    fallback: Any

    @field_validator("min_items")
    @classmethod
    def _check_min_items(cls, value: int, info: ValidationInfo) -> int:
        options = info.data.get("options")
        most = None if options is None else len(options)
        return _check_order(value, most, "min_items", "the number of options")

    @field_validator("max_items")
    @classmethod
    def _check_max_items(cls, value: int | None, info: ValidationInfo) -> int | None:
        _check_order(info.data.get("min_items", 0), value, "min_items", "max_items")
        return value

    def check(self, value: Any) -> list[str]:
        if not isinstance(value, (list, tuple)):
            raise Unfit(f"must be a list of options, found {_kind(value)}")
        chosen = [self._option_named(item) for item in value]
        if len(set(chosen)) < len(chosen):
            raise Unfit("names an option twice")
        return self._counted(chosen)

    def read(self, value: Any) -> list[str]:
        items = value
        if isinstance(value, (str, int, float)):
            items = _list_in(value) if isinstance(value, str) else None
            items = [value] if items is None else items
        if not isinstance(items, list):
            raise Unfit(f"must be a list of options, found {_kind(value)}")
        if len(items) > _MOST_ITEMS:
            raise Unfit(f"names {len(items)} options")
        return self._counted(list(dict.fromkeys([self._option_meant(item) for item in items])))

    def _counted(self, chosen: list[str]) -> list[str]:
        most = len(self.options) if self.max_items is None else self.max_items
        if not self.min_items <= len(chosen) <= most:
            raise Unfit(f"names {len(chosen)} options, from {self.min_items} to {most} are allowed")
        return chosen

    def limits(self) -> str:
        most = len(self.options) if self.max_items is None else self.max_items
        count = most if self.min_items == most else f"{self.min_items} to {most}"
        return f"{count} of the options, none of them twice"

    def phrase(self) -> str:
        return f"a list of {self.limits()}; the options are {_quoted(self.options)}"

    def schema_type(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string", "enum": list(self.options)}}

    def longest(self) -> list[str]:
        return sorted(self.options, key=_bytes, reverse=True)[: self.max_items]


def _check_order(least: int, most: int | None, least_name: str, most_name: str) -> int:
    if most is not None and least > most:
        raise ValueError(f"{least_name} is {least}, which is more than {most_name}, {most}")
    return least


def _kind(value: Any) -> str:
    """Return the name of a value's JSON type, without the value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    for types, word in (
        (str, "text"),
        ((int, float), "a number"),
        ((list, tuple), "a list"),
        (dict, "an object"),
    ):
        if isinstance(value, types):
            return word
    return f"a value of type {type(value).__name__}"


def _list_in(text: str) -> list[Any] | None:
    """Return the list that a text is, as JSON (``'["a", "b"]'``); ``None`` if it is none."""
    if text.lstrip()[:1] != "[":
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _storable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 can't hold, and NUL, which PostgreSQL text can't."""
    return _LONE_SURROGATES.sub("\ufffd", text).replace("\x00", "")


def _loosely(option: str) -> str:
    # An accented letter may be written as one character or as two; it is the same letter.
    return unicodedata.normalize("NFC", option.strip().casefold())


def _quoted(options: Iterable[str]) -> str:
    return ", ".join(json.dumps(option, ensure_ascii=False) for option in options)


def _bytes(option: str) -> int:
    return len(option.encode())
