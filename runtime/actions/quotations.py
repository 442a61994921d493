"""The objects that stand in a request's data: what a model may quote, and what is no answer then.

They are looked for only where an answer has words round its object. A person may write an object
anywhere: within other words or in another object, as a text of JSON, escaped, in quotation marks
that JSON does not have, or in a nested attribute. All of these are found. An object that stands in
two attributes, half in each, or in another notation (HTML's or an address's) is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from runtime.actions.answer_text import Pairs, Unclear, object_at, strict_object_at

MAX_WORK = 1_000_000
"""The characters of texts with a brace that are looked through, with what the rest costs:"""
VALUE_WORK = 20
OBJECT_WORK = 30
READING_WORK = 1_000
_REPAIR_WORK = 20
"""For each of the first 5,000 characters from a brace where no strict JSON begins."""
_REPAIRED_CHARS = 5_000
_REWRITING_WORK = 4
"""For each character of a text that is read in another way, too."""
_ESCAPED_TIMES = 3

_START = re.compile(r'\{(?=\s*+(?:"|/[/*]))')
_ESCAPED_START = re.compile(r"\{\s*+\\")
_ESCAPE = re.compile(r'\\(["\\/])')
_QUOTED_OTHERWISE = re.compile("\\{\\s*+['\u2018-\u201f\xab\xbb]")
_QUOTES = {ord(mark): '"' for mark in "'\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\xab\xbb"}


class Work:
    """The work that may still be done for one answer."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = MAX_WORK

    def spend(self, amount: int) -> None:
        """Take away from what is left.

        Raises:
            Unclear: nothing is left.
        """
        self._left -= amount
        if self._left < 0:
            raise Unclear("the data of the request are too large to see whether it quotes them")


def objects_in_data(data: Mapping[str, Mapping[str, Any]], work: Work) -> Iterator[Pairs]:
    """Yield the objects in the attributes' texts, and attributes that are objects themselves.

    Raises:
        Unclear: there is more in them than is looked through.
    """
    waiting: list[Any] = []
    for scope in data.values():
        work.spend(VALUE_WORK * len(scope))
        waiting += scope.values()
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield from _objects_in_text(value, work)
        elif isinstance(value, Mapping):
            work.spend(OBJECT_WORK + VALUE_WORK * len(value))
            yield tuple((str(name), inner) for name, inner in value.items())
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            work.spend(VALUE_WORK * len(value))
            waiting += value


def _objects_in_text(text: str, work: Work) -> Iterator[Pairs]:
    waiting: list[Any] = [text]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if "{" in value:
                waiting += _outermost(value, work)
        elif isinstance(value, tuple):  # an object, as ``answer_text`` decodes it
            work.spend(OBJECT_WORK + VALUE_WORK * len(value))
            yield value
            for pair in value:
                waiting += pair
        elif isinstance(value, list):
            work.spend(VALUE_WORK * len(value))
            waiting += value


def _outermost(text: str, work: Work) -> Iterator[Pairs]:
    for written in _ways_to_read(text, work):
        position = 0
        while (brace := _START.search(written, position)) is not None:
            start, position = brace.start(), brace.end()
            work.spend(OBJECT_WORK)
            strict = strict_object_at(written, start)
            if strict is not None:
                pairs, position = strict
                yield pairs
                continue
            left = len(written) - start
            work.spend(left + _REPAIR_WORK * min(left, _REPAIRED_CHARS))
            with suppress(Unclear):
                # What its comments hold may be an object, too, so that the search goes on within.
                yield object_at(written, start)[0]


def _ways_to_read(text: str, work: Work) -> Iterator[str]:
    work.spend(len(text))
    yield text
    if _QUOTED_OTHERWISE.search(text) is not None:
        work.spend(_REWRITING_WORK * len(text))
        yield text.translate(_QUOTES)
    for _ in range(_ESCAPED_TIMES):
        if _ESCAPED_START.search(text) is None:
            break
        work.spend(_REWRITING_WORK * len(text))
        text = _ESCAPE.sub(r"\1", text)
        yield text
