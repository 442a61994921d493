"""An output of an action: its settings, and the rules that every type shares."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
"""The names of outputs: plain identifiers, which every provider's schema mode accepts."""

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


Count = Annotated[int, Field(strict=True, ge=0)]


class Unfit(ValueError):
    """A value that does not fit an output. The message says why, without the value."""


class Output(BaseModel):
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

    def chosen(self, value: Any) -> tuple[int, ...]:
        """Return the numbers of the options that a valid value has, from 0; of others none."""
        return ()


def check_order(least: int, most: int | None, least_name: str, most_name: str) -> int:
    """Return the lower bound; raise ``ValueError`` where it exceeds the upper one."""
    if most is not None and least > most:
        raise ValueError(f"{least_name} is {least}, which is more than {most_name}, {most}")
    return least


def kind_of(value: Any) -> str:
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


def storable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 can't hold, and NUL, which PostgreSQL text can't."""
    return _LONE_SURROGATES.sub("\ufffd", text).replace("\x00", "")
