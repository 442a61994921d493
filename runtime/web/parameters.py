"""Refusals of single parameters, and the pages and windows that several routes have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Query

from runtime.web.problems import invalid

Limit = Annotated[int, Query(ge=1, le=1_000, description="The most items of a page.")]
Cursor = Annotated[
    str | None, Query(max_length=500, description="`next_cursor` of the page before.")
]
Since = Annotated[
    str | None,
    Query(alias="from", max_length=40, description="The first instant: a date or an instant."),
]
Until = Annotated[str | None, Query(alias="to", max_length=40, description="The first one after.")]


@contextmanager
def naming(field: str, place: str) -> Iterator[None]:
    """Turn a ``ValueError`` raised inside into the problem of this field.

    Args:
        place: ``query`` or ``path``; ``body`` is not named.

    Raises:
        Problem: instead of the ``ValueError``.
    """
    name = field if place == "body" else f"{place}.{field}"
    try:
        yield
    except ValueError as error:
        text = str(error).removeprefix(f"{field}: ")
        raise invalid(name, text) from None
