"""Masks what a provider wrote, so that an operator may read it: no key, no words of a person."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

MAX_CHARS = 300
"""The longest text that is shown."""
MAX_MASKED_CHARS = 100_000
"""Prompt and attributes together; beside longer ones, no text is shown."""
MAX_MASKED_VALUES = 5_000
TOO_LONG = "(not shown: the prompt is too long to be looked for in it)"

_MASK = "[masked]"
_READ_CHARS = 2_000
_FOLDED_CHARS = 150_000
"""Some letters become 18 when they are folded."""
_RUN = 12
"""The letters and digits in a row, of a prompt or an attribute, from which on they are masked."""
_SECRET_RUN = 8
_SHORTEST_VALUE = 3
_KEY_CHARS = 16

_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
_BREAK = re.compile(r"\\+[nrt]")
_WORD = re.compile(r"\S+")
_KEY_LIKE = re.compile(rf"[A-Za-z0-9_+/=-]{{{_KEY_CHARS},}}")
_NAMED_KEY = re.compile(
    r"(?:bearer|basic|api[-_ ]?key\s?[:=]|token\s?[:=])\s?\S+"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|AIza)[-_A-Za-z0-9]{6,}",
    re.IGNORECASE,
)


def masked(
    text: str,
    *,
    secrets: Iterable[str],
    prompt: Sequence[str],
    data: Mapping[str, Any],
    known: str = "",
) -> str:
    """Return the text in one line of at most 300 characters that shows no secret and no person.

    Masked are secrets and their parts from 8 characters on, what looks like a key, runs of 12
    letters and digits that the prompt or an attribute has too, and whole attributes from 3 on.
    Case, accents, blanks and signs in between make no difference, and neither do JSON's, HTML's
    and a URL's escapes. What is not printable is escaped.

    Args:
        prompt: the texts that were sent.
        data: the person's attributes, by scope.
        known: a name that may look like a key and is shown all the same: the model's.
    """
    text = _readable(text)
    values = _values(data)
    if values is None or sum(map(len, (*prompt, *values))) > MAX_MASKED_CHARS:
        return TOO_LONG
    sources = [_folded(source) for source in (*prompt, *values)]
    if sum(map(len, sources)) > _FOLDED_CHARS:
        return TOO_LONG
    hidden = bytearray(len(text))
    for begin, end in _keys(text, known):
        _hide(hidden, begin, end)
    folded, places = _folded_with_places(text)
    for runs, length in ((sources, _RUN), (map(_folded, secrets), _SECRET_RUN)):
        for begin, end in _common(folded, runs, length):
            _hide(hidden, places[begin], places[end - 1] + 1)
    short = {*sources[len(prompt) :], *map(_folded, secrets)}
    for begin, end in _whole(text, folded, places, short):
        _hide(hidden, begin, end)
    return _line(text, hidden)


def _readable(text: str) -> str:
    text = _BREAK.sub(" ", _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text[:_READ_CHARS]))
    return unquote(html.unescape(text))[:_READ_CHARS]


def _values(data: Mapping[str, Any]) -> list[str] | None:
    """Return the texts and numbers among the attributes; ``None`` if there are too many."""
    values: list[str] = []
    left: list[Any] = [data]
    seen = 0
    while left:
        part = left.pop()
        for value in part.values() if isinstance(part, Mapping) else part:
            seen += 1
            if seen > MAX_MASKED_VALUES:
                return None
            if isinstance(value, str):
                values.append(value)
            elif isinstance(value, Mapping | list | tuple):
                left.append(value)
            elif isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**64):
                values.append(str(value))
    return values


def _folded(text: str) -> str:
    """Return the letters and digits alone, in one case and without accents."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text.casefold())))


def _folded_with_places(text: str) -> tuple[str, list[int]]:
    letters: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        for letter in _folded(char):
            letters.append(letter)
            places.append(place)
    return "".join(letters), places


def _keys(text: str, known: str) -> Iterator[tuple[int, int]]:
    for found in _WORD.finditer(text):
        if "***" in found[0] or "..." in found[0].strip("."):  # a key that the provider has masked
            yield found.span()
    for found in _NAMED_KEY.finditer(text):
        yield found.span()
    for found in _KEY_LIKE.finditer(text):
        has_digit = any(char.isdigit() for char in found[0])
        if has_digit and any(char.isalpha() for char in found[0]) and found[0] not in known:
            yield found.span()


def _common(folded: str, sources: Iterable[str], length: int) -> Iterator[tuple[int, int]]:
    """Yield the places of all runs of a length that the text has in common with a source."""
    runs: dict[str, list[int]] = {}
    for begin in range(len(folded) - length + 1):
        runs.setdefault(folded[begin : begin + length], []).append(begin)
    if not runs:
        return
    for source in sources:
        for start in range(len(source) - length + 1):
            for begin in runs.pop(source[start : start + length], ()):
                yield begin, begin + length


def _whole(
    text: str, folded: str, places: Sequence[int], values: Iterable[str]
) -> Iterator[tuple[int, int]]:
    """Yield the places of whole values, where no letter or digit stands beside them."""
    for value in values:
        begin = folded.find(value) if len(value) >= _SHORTEST_VALUE else -1
        while begin >= 0:
            first, last = places[begin], places[begin + len(value) - 1]
            before, after = text[first - 1 : first], text[last + 1 : last + 2]
            if not before.isalnum() and not after.isalnum():
                yield first, last + 1
            begin = folded.find(value, begin + 1)


def _hide(hidden: bytearray, begin: int, end: int) -> None:
    hidden[begin:end] = b"\1" * (end - begin)


def _line(text: str, hidden: bytearray) -> str:
    parts: list[str] = []
    for place, char in enumerate(text):
        if hidden[place]:
            if not place or not hidden[place - 1]:
                parts.append(_MASK)
        elif char.isspace():
            parts.append(" ")
        else:
            parts.append(char if char.isprintable() else ascii(char)[1:-1])
    line = " ".join("".join(parts).split())
    return line if len(line) <= MAX_CHARS else f"{line[: MAX_CHARS - 1]}…"
