"""The rules that all bodies and parameters of the API share."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from starlette.convertors import Convertor, register_url_convertor

from pricing.offers import MAX_MC
from runtime.actions.request_body import Body, IdText, StrictId, documented
from runtime.ids import ID_PATTERN, ID_RULE, is_reference
from runtime.web.problems import ProblemDetails

__all__ = [
    "ACCOUNT_ID",
    "AmountMc",
    "Body",
    "Day",
    "IdText",
    "Instant",
    "Reference",
    "Responses",
    "StrictId",
    "problems",
]


class _PathId(Convertor[str]):
    """A part of a path without a colon, which parts an id from the name of what is done."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _PathId())

ACCOUNT_ID = Annotated[str, Path(pattern=ID_PATTERN, description=ID_RULE, examples=["acme"])]
"""A path's parameter: an account's id."""


def _reference(value: str) -> str:
    if is_reference(value) is None:
        raise ValueError("must be text of 1 to 200 characters without control characters")
    return value


def _date_text(value: Any) -> Any:
    # pydantic would take numbers too, as seconds since 1970.
    if isinstance(value, (str, date)) and not str(value).lstrip("+-").replace(".", "").isdigit():
        return value
    raise ValueError("must be text like 2026-05-02, or with a time and an offset, or Z")


_NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"
Reference = Annotated[str, documented(_NO_CONTROLS), AfterValidator(_reference)]
Day = Annotated[date, Field(strict=False), BeforeValidator(_date_text)]
"""A calendar date as text."""
Instant = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_date_text)]
"""An instant as text, with its offset."""
AmountMc = Annotated[int, Field(gt=0, le=MAX_MC, description="Millicredits: 1 credit is 1,000.")]

_WORDS = {
    400: "The body can't be read.",
    401: "No valid key.",
    403: "The key does not allow this.",
    404: "It is not there, or not the key's.",
    408: "The body took too long to arrive.",
    409: "It contradicts what is there.",
    412: "It was changed meanwhile.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "A field is not valid.",
    428: "If-Match is missing.",
    429: "Too many requests of this key.",
    503: "Something that it needs can't be reached for now.",
}


Responses = dict[int | str, dict[str, Any]]
"""A route's answers beside its usual one, as FastAPI takes them."""


def problems(*statuses: int) -> Responses:
    """Return a route's ``responses`` for these errors, as the OpenAPI document has them."""
    return {
        status: {
            "description": _WORDS[status],
            "content": {"application/problem+json": {"schema": _SCHEMA}},
        }
        for status in statuses
    }


_SCHEMA = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
