"""Outputs that are chosen from a list of options."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from runtime.actions.output import Count, Output, Unfit, check_order, kind_of, storable

_MOST_ITEMS = 2_000
"""The most items of a list that are compared with options, repeats included."""

_Option = Annotated[str, Field(strict=True, min_length=1, max_length=200)]


class _Select(Output):
    options: Annotated[tuple[_Option, ...], Field(min_length=1, max_length=500)]

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        twice = [option for option in dict.fromkeys(options) if options.count(option) > 1]
        if twice:
            raise ValueError(f"options must differ, found more than once: {_quoted(twice)}")
        if any(option != storable(option) for option in options):
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
    def _numbers(self) -> dict[str, int]:
        return {option: number for number, option in enumerate(self.options)}

    @cached_property
    def _loosely_named(self) -> dict[str, str]:
        """Options by their text regardless of case and composition, if only one option matches."""
        folded: dict[str, list[str]] = {}
        for option in self.options:
            folded.setdefault(_loosely(option), []).append(option)
        return {text: found[0] for text, found in folded.items() if len(found) == 1}

    def _option_named(self, value: Any) -> str:
        if not isinstance(value, str):
            raise Unfit(f"must be one of the options, found {kind_of(value)}")
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

    def chosen(self, value: str) -> tuple[int, ...]:
        return (self._numbers[value],)

    def phrase(self) -> str:
        return f"one of {_quoted(self.options)}"

    def schema_type(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.options)}

    def longest(self) -> str:
        return max(self.options, key=_bytes)


class MultiSelectOutput(_Select):
    """``min_items`` to ``max_items`` of the options, each at most once; ``None`` means all."""

    type: Literal["multi_select"] = "multi_select"
    min_items: Count = 0
    max_items: Annotated[int, Field(strict=True, ge=1)] | None = None
    fallback: Any

    @field_validator("min_items")
    @classmethod
    def _check_min_items(cls, value: int, info: ValidationInfo) -> int:
        options = info.data.get("options")
        most = None if options is None else len(options)
        return check_order(value, most, "min_items", "the number of options")

    @field_validator("max_items")
    @classmethod
    def _check_max_items(cls, value: int | None, info: ValidationInfo) -> int | None:
        check_order(info.data.get("min_items", 0), value, "min_items", "max_items")
        return value

    def check(self, value: Any) -> list[str]:
        if not isinstance(value, (list, tuple)):
            raise Unfit(f"must be a list of options, found {kind_of(value)}")
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
            raise Unfit(f"must be a list of options, found {kind_of(value)}")
        if len(items) > _MOST_ITEMS:
            raise Unfit(f"names {len(items)} options")
        return self._counted(list(dict.fromkeys([self._option_meant(item) for item in items])))

    def chosen(self, value: list[str]) -> tuple[int, ...]:
        return tuple(self._numbers[option] for option in value)

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


def _list_in(text: str) -> list[Any] | None:
    """Return the list that a text is, as JSON (``'["a", "b"]'``); ``None`` if it is none."""
    if text.lstrip()[:1] != "[":
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _loosely(option: str) -> str:
    # An accented letter may be written as one character or as two; it is the same letter.
    return unicodedata.normalize("NFC", option.strip().casefold())


def _quoted(options: Iterable[str]) -> str:
    return ", ".join(json.dumps(option, ensure_ascii=False) for option in options)


def _bytes(option: str) -> int:
    return len(option.encode())
