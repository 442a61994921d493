"""The reading of a model's answer: which object in it is the answer, and which values it has.

``answer_text`` finds the objects of a text that are not in thoughts. These rules choose among them:

1. An object that names an output *fits*. All that fit must give the same values.
2. An object that does not fit is skipped only if words come before it and one that fits ends the
   text. Otherwise it may be the model's own answer, and the one that fits may be a person's.
3. After thoughts, or beside any other marker, the answer ends the text.
4. Of a text that was cut off, only an object that is all of the text is an answer.
5. An object that is not all of the text, and that stands in the request's data, is a quotation.

Where they do not give one object, no output has a value. A person's words may stand anywhere in an
answer, so what would need a guess is not read.

Each output is then read by itself: a value that does not fit affects no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from providers.base import MAX_ANSWER_CHARS
from runtime.actions.answer_text import (
    Pairs,
    Surroundings,
    Unclear,
    escaped_object,
    objects_in,
)
from runtime.actions.output import Unfit
from runtime.actions.outputs import OutputField
from runtime.actions.quotations import READING_WORK, Work, objects_in_data

MAX_NAMES = 2_000
"""The most names in an answer's object beside those of the outputs."""

_WRAPPERS = frozenset(
    {"answer", "arguments", "data", "finalanswer", "json", "object", "output", "outputs"}
    | {"parameters", "response", "result", "results", "values"}
)
"""The names of an object round the answer, apart from case, spaces and ``_``."""


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The valid values of an answer, and the problems of the other outputs.

    Every output is in one of the two. A problem never quotes the answer.
    """

    values: dict[str, Any]
    invalid: dict[str, str]


def parse(
    text: str,
    outputs: Mapping[str, OutputField],
    data: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    after_thoughts: bool = False,
    cut_off: bool = False,
) -> ParsedAnswer:
    r"""Return the values of a model's answer.

    Forgiven are code fences and prose round the object, an object or a list round it, a text that
    was escaped twice; commas before a closing bracket, comments, line breaks within strings, and
    ``\'``, ``\_`` and their like; names in another case, numbers and booleans written as text,
    another case of an option, an option's digits as a number, one option or a JSON text instead
    of a list, and an option named twice. Never raises, and takes time that is linear in the
    text's length. Every value is valid, plain JSON, and can be stored as UTF-8.

    Args:
        text: the answer; of more than ``MAX_ANSWER_CHARS`` characters, nothing is read.
        outputs: the outputs by name.
        data: the attributes of the request by scope, which the model may quote.
        after_thoughts: true if thoughts that came before the text were already cut off it.
        cut_off: true if the model was stopped by a limit.
    """
    try:
        return _chosen(text, outputs, data or {}, after_thoughts=after_thoughts, cut_off=cut_off)
    except Unclear as unclear:
        return ParsedAnswer({}, dict.fromkeys(outputs, f"is not read: {unclear}"))


def _chosen(
    text: str,
    outputs: Mapping[str, OutputField],
    data: Mapping[str, Mapping[str, Any]],
    *,
    after_thoughts: bool,
    cut_off: bool,
) -> ParsedAnswer:
    if len(text) > MAX_ANSWER_CHARS:
        raise Unclear(f"the answer has more than {MAX_ANSWER_CHARS:,} characters")
    found = _objects(text)
    if not found.objects:
        raise Unclear("the answer holds no JSON object")
    if cut_off and (after_thoughts or not found.bare):
        raise Unclear("the answer was cut off, and more than one object is in it")
    if (found.marked or after_thoughts) and found.words_after:
        raise Unclear("after thoughts or tags, words follow the object")
    readings = [_reading(pairs, outputs) for pairs in found.objects]
    fitting = [reading for reading in readings if reading is not None]
    if not fitting:
        return ParsedAnswer({}, dict.fromkeys(outputs, "is missing"))
    if any(reading != fitting[0] for reading in fitting[1:]):
        raise Unclear("the answer holds objects that differ")
    if len(fitting) < len(readings) and not (
        found.words_before and readings[-1] is not None and not found.words_after
    ):
        raise Unclear("the answer holds another object that names no output")
    if after_thoughts or not found.bare:
        _check_own(found.objects, fitting[0], outputs, data)
    return fitting[0]


def _check_own(
    objects: Iterable[Pairs],
    answer: ParsedAnswer,
    outputs: Mapping[str, OutputField],
    data: Mapping[str, Mapping[str, Any]],
) -> None:
    """Check that the answer is no quotation.

    Raises:
        Unclear: an object of the data has the same names and gives the same values.
    """
    own = [_names(_unwrapped(pairs, outputs)) for pairs in objects]
    named = {output.lower(): output for output in outputs}
    work = Work()
    for pairs in objects_in_data(data, work):
        if (names := _names(pairs)) in own and not named.keys().isdisjoint(names):
            work.spend(READING_WORK)
            as_named = tuple((named.get(_plain(name), name), value) for name, value in pairs)
            reading = _reading(as_named, outputs)
            if reading is not None and reading.values == answer.values:
                raise Unclear("the answer quotes an object of the request's data")


def _names(pairs: Pairs) -> set[str]:
    return {_plain(name) for name, _ in pairs}


def _plain(name: str) -> str:
    return name.strip().lower()


def _objects(text: str) -> Surroundings:
    inner = escaped_object(text)
    if inner is None:
        return objects_in(text)
    found = objects_in(inner)
    if not found.bare:
        raise Unclear("the answer is a text that holds an object")
    return found


def _reading(pairs: Pairs, outputs: Mapping[str, OutputField]) -> ParsedAnswer | None:
    """Return what an object says of the outputs, or ``None`` if it names none of them."""
    answer = _named(_unwrapped(pairs, outputs), outputs)
    if not answer:
        return None
    values: dict[str, Any] = {}
    invalid: dict[str, str] = {}
    for name, output in outputs.items():
        if name not in answer:
            invalid[name] = "is missing"
            continue
        if answer[name] is _CONTRADICTION:
            invalid[name] = "is given twice, with different values"
            continue
        try:
            # A nested object is decoded as a tuple; no output takes one.
            value = answer[name]
            values[name] = output.read({} if isinstance(value, tuple) else value)
        except Unfit as error:
            invalid[name] = str(error)
    return ParsedAnswer(values, invalid)


def _unwrapped(pairs: Pairs, outputs: Mapping[str, OutputField]) -> Pairs:
    """Return the object in an object whose only name means an answer: ``{"answer": {...}}``.

    Under any other name (``{"customer_said": {...}}``) it may be what the model quotes.
    """
    if len(pairs) != 1 or pairs[0][0] in outputs or not isinstance(pairs[0][1], tuple):
        return pairs
    name, inner = pairs[0]
    return inner if name.strip().casefold().replace("_", "") in _WRAPPERS else pairs


_CONTRADICTION = object()
"""Stands for a name with two values, of which either may be meant."""


def _named(pairs: Pairs, outputs: Mapping[str, OutputField]) -> dict[str, Any]:
    """Return the values of the outputs that an object names.

    Names in another case count where no output has its own: a model that knows the names means
    something else by ``Reply`` beside ``intent``.
    """
    if len(pairs) > MAX_NAMES + len(outputs):
        raise Unclear("an object in the answer has too many names")
    exact = _together([(name, value) for name, value in pairs if name in outputs])
    if exact:
        return exact
    meant: dict[str, list[str]] = {}
    for output in outputs:
        meant.setdefault(output.lower(), []).append(output)
    # Only ASCII: to Unicode, the sign for kelvin is a capital k.
    loose = [(meant.get(name.strip().lower(), ()), v) for name, v in pairs if name.isascii()]
    return _together([(names[0], value) for names, value in loose if len(names) == 1])


def _together(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found[name] = value if name not in found or _same(found[name], value) else _CONTRADICTION
    return found


def _same(one: Any, other: Any) -> bool:
    # To Python, 1 is True, and nested values may lie too deep to be compared.
    return one is other or (
        type(one) in (str, int, float) and type(one) is type(other) and one == other
    )
