"""Entity tags: what a client changes must be what it read."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header

from runtime.web.problems import Problem

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=100,
        description="The `ETag` of what you read; the change is refused if it is another by now.",
    ),
]

ETAG: dict[str, Any] = {
    "ETag": {
        "description": "For `If-Match` of the next change.",
        "schema": {"type": "string"},
    }
}
"""The header of an answer, as the OpenAPI document has it."""


def etag_of(if_match: str | None) -> str:
    """Return the etag that a request gives.

    Raises:
        Problem: it gives none.
    """
    if if_match is None:
        raise Problem(
            428,
            "if_match_missing",
            "If-Match is missing",
            "Read it first, and send the ETag of the answer: If-Match: ETAG",
        )
    text = if_match.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1] if is_quoted else text


def etag_header(etag: str) -> str:
    """Return the value of an ``ETag`` header."""
    return f'"{etag}"'
