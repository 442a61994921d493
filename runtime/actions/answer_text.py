"""The JSON objects in a model's answer, and what surrounds them.

A model may think aloud before it answers, and may quote a person anywhere. So a text is read as a
sequence of objects, markers and words, once, from left to right:

- An *object* is a JSON object, from its brace to the one that closes it. What its strings hold is
  text: no brace, tag or quotation in them counts. ``{}`` and ``{as you like}`` are words.
- A *marker* is anything that looks like markup, whatever its name: ``<name>``, ``</name>``,
  ``[NAME]``, ``<|name|>``, the same in other brackets, ``<!--``, ``-->``, and the channels of
  gpt-oss with or without theirs (``<|channel|>analysis<|message|>``, ``assistantfinal``). It
  begins something or ends something. Names that stand for an answer or for the end of a turn
  (``<answer>``, ``<|im_end|>``) are not markers. Neither are HTML's line breaks and images, which
  have no end.
- A marker that begins something before there is any object opens a *thought*. The thought goes to
  the next marker that ends something of the same name, and nothing in it is read. Without one, the
  text was cut off in its thoughts. After an object, nothing opens a thought: the name may be
  quoted from a person, to hide the answer.

All else outside of thoughts is words. Reading stops at the first object that is not whole: what
follows might be a part of it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

MAX_MARKERS = 5_000
MAX_OBJECTS = 8
"""Objects outside of thoughts, the empty ones with comments too. An answer is one object."""
MAX_DEPTH = 100
MAX_LENIENT_TOKENS = 5_000
"""Parts of an object that is not strict JSON: strings, brackets, commas, and what is between."""

Pairs = tuple[tuple[str, Any], ...]
"""A JSON object as it is decoded: names may come twice. A JSON list is a Python list."""


class Unclear(Exception):
    """A text in which nothing is certain to be the answer. The message does not quote the text."""


@dataclass(slots=True)
class Surroundings:
    """The objects of a text outside of thoughts, in their order, and what stands around them.

    Args:
        objects: none of them is empty.
        marked: true if there is any marker outside of strings.
        words_before: true if words come before the first object.
        words_after: true if words or markers come after the last one.
    """

    objects: list[Pairs] = field(default_factory=list)
    marked: bool = False
    words_before: bool = False
    words_after: bool = False

    @property
    def bare(self) -> bool:
        """True for one object and nothing else but brackets, quotation marks or a code fence."""
        words = self.marked or self.words_before or self.words_after
        return len(self.objects) == 1 and not words


def objects_in(text: str) -> Surroundings:
    """Return the objects of a text outside of thoughts, in time that is linear in its length.

    Raises:
        Unclear: an object or a thought has no end, or there are more parts than an answer has.
    """
    found = Surroundings()
    position = markers = objects = 0
    words = marked_comment = False
    if _GLUED_START.match(text) is not None:
        found.marked = True
        position, markers = _end_of_thought(text, position, _CHANNEL)
    while (landmark := _LANDMARK.search(text, position)) is not None:
        between = text[position : landmark.start()]
        words = words or _has_words(between)
        if landmark["object"] is not None:
            if words and between[-1:] in _QUOTES:
                raise Unclear("the answer quotes an object")
            objects += 1
            if objects > MAX_OBJECTS:
                raise Unclear("the answer holds too many objects")
            pairs, position, marked = object_at(text, landmark.start())
            marked_comment = marked_comment or marked
            if pairs:
                found.words_before = words if not found.objects else found.words_before
                found.objects.append(pairs)
                words = False
            continue
        markers += 1
        position = landmark.end()
        begins, name = _meaning(landmark)
        if name is not None:
            found.marked = True
            words = words or bool(found.objects)
            if begins and not found.objects:
                position, inside = _end_of_thought(text, position, name)
                markers += inside
        if markers > MAX_MARKERS:
            raise Unclear("the answer holds too many tags")
    found.words_after = bool(found.objects) and (words or _has_words(text[position:]))
    if marked_comment and not found.bare:
        raise Unclear("a comment in the answer holds a tag")
    return found


def escaped_object(text: str) -> str | None:
    r"""Return the object's text where the whole of a text is one that was escaped once more.

    That is a JSON string with an object in it (``"{\"a\": 1}"``), or the same without its quotes.
    """
    text = text.strip(_SPACE)
    quoted = text if text.startswith('"') else f'"{text}"'
    if _ESCAPED_START.match(quoted) is None:
        return None
    try:
        inner = json.loads(quoted, strict=False)
    except ValueError:
        return None
    return str(inner)


def _has_words(text: str) -> bool:
    return bool(text) and _WORD.search(_FENCE.sub("", text)) is not None


# Markers

_OPENING, _CLOSING = "<\uff1c\u25c1\u27e8", ">\uff1e\u25b7\u27e9"
_NAME = r"[^\W\d_][\w.:\-\u2581\u200b-\u200d\u2060\ufeff]{0,63}+"
_MARKUP = rf"""
    (?<=<)\|(?i:channel)\|>\s*+(?P<channel>\w++)(?:[^<{{\n]{{0,100}}+<\|(?i:message)\|>)?+
  | (?<=[{_OPENING}])\s?+(?P<bar>[|\uff5c]?+)\s?+(?P<slash>/?+)\s?+(?P<name>{_NAME})
        (?:\s[^{{}}{_OPENING}{_CLOSING}]*+)?+(?<!/)[|\uff5c]?+[{_CLOSING}]
  | (?<=\[)\s?+(?P<square_slash>/?+)\s?+(?P<square>{_NAME})\s?+\]
  | (?P<comment>(?<=<)!--|(?<=-)->)
"""
_GLUED = r"(?<=[aA])(?i:ssistant\n?(?P<glued>final|analysis|commentary))"
_OBJECT = r"""(?P<object>(?<=\{)(?=\s*+(?:["'\u201c\u2018\\]|/[/*]|[^\W\d]\w{0,63}+\s*+:)))"""
# A class of characters comes first, as the search for one is quick, and then what excludes most.
_STARTS = rf"{_OPENING}\[\-aA"
_PROMISING = rf"(?![{_OPENING}\[{{])(?:(?<![aA])|(?=(?i:ssistant)))"
_MARKER = re.compile(rf"[{_STARTS}]{_PROMISING}(?:{_MARKUP} | {_GLUED})", re.VERBOSE)
_LANDMARK = re.compile(
    rf"[{{{_STARTS}]{_PROMISING}(?:{_OBJECT} | {_MARKUP} | {_GLUED})", re.VERBOSE
)
_GLUED_START = re.compile(r"\s*+(?i:analysis|commentary)(?![\s:.,;!?*\-])")

_ANSWERS = frozenset(
    {"answer", "final", "finalanswer", "json", "output", "response", "result", "solution"}
    | {"code", "pre"}
)
_TOKENS = frozenset(
    {"", "message", "constrain", "return", "call", "im", "text", "turn", "sentence", "headerid"}
    | {"eotid", "eomid", "endoftext", "eos", "s"}
)
"""Names that wrap an answer, and names in ``<|name|>`` that end a turn or belong to channels.

To know them is safe: nothing is hidden by them, so that all objects around them count.
"""

_WITHOUT_END = frozenset({"br", "hr", "img", "wbr"})
"""HTML's elements that never have an end tag, of those that stand in prose."""

_SPACE = " \t\r\n\ufeff\u200b\u2060"
_QUOTES = frozenset("\"'\u201c\u201d\u201e\u2018\u201a\xab\u2039")
_FENCE = re.compile(r"(?:```|~~~)\w*+")
_WORD = re.compile(r"[^\W_]")
_ESCAPED_START = re.compile(r'"\s*+(?:\\[nrt]|\s)*+\{(?:\\[nrt]|\s)*+\\"')
_ZERO_WIDTH = re.compile("[\u200b-\u200d\u2060\ufeff]")
_NAME_PARTS = re.compile(r"[_.:\-\u2581]++")


def _meaning(marker: re.Match[str]) -> tuple[bool, str | None]:
    """Return whether a marker begins something, and the name of that; ``None`` if it is none."""
    channel = marker["channel"] or marker["glued"]
    if channel is not None:
        return channel.lower() != "final", _CHANNEL
    if marker["comment"] is not None:
        return marker["comment"] == "<!--", "!--"
    name = marker["name"] or marker["square"]
    words = _NAME_PARTS.split(_ZERO_WIDTH.sub("", name).casefold().strip("_.:-\u2581"))
    ends = bool(marker["slash"] or marker["square_slash"]) or not _END_WORDS.isdisjoint(
        (words[0], words[-1])
    )
    key = "".join(word for word in words if word not in _POSITION_WORDS)
    known = key in _ANSWERS or (key in _TOKENS and (bool(marker["bar"]) or key == "s"))
    known = known or (key in _WITHOUT_END and not ends)
    return not ends, None if known else key


_CHANNEL = "<|channel|>"
_END_WORDS = frozenset({"end", "close", "stop"})
_POSITION_WORDS = _END_WORDS | {"begin", "start", "open", "of", "the"}


def _end_of_thought(text: str, position: int, name: str) -> tuple[int, int]:
    """Return where a thought ends, and the number of markers in it."""
    for count, marker in enumerate(_MARKER.finditer(text, position), 1):
        if count > MAX_MARKERS:
            raise Unclear("the answer holds too many tags")
        if _meaning(marker) == (False, name):
            return marker.end(), count
    raise Unclear("the answer ends within thoughts")


# Objects


def _integer(digits: str) -> int | float:
    # int() refuses thousands of digits with an error that would spoil the whole answer.
    return int(digits) if len(digits) <= 400 else math.inf


_DECODER = json.JSONDecoder(strict=False, parse_int=_integer, object_pairs_hook=tuple)
_TOKEN = re.compile(
    r"""
    (?P<string>"(?:[^"\\]++|\\.)*+")
  | (?P<comment>//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)
  | (?P<open>[{\[])
  | (?P<close>[}\]])
  | (?P<comma>,)
  | (?P<other>[^"{}\[\],/]++)
    """,
    re.VERBOSE | re.DOTALL,
)
_HARMLESS_ESCAPE = re.compile(
    r"((?:[^\\]++|\\[A-Za-z0-9\"\\/])*+)(?:\\([^A-Za-z0-9\"\\/])|\Z)", re.DOTALL
)


def object_at(text: str, start: int) -> tuple[Pairs, int, bool]:
    """Return the object at a brace, where it ends, and whether a marker stands in a comment.

    Raises:
        Unclear: no whole object is there.
    """
    strict = strict_object_at(text, start)
    return _lenient_object_at(text, start) if strict is None else (*strict, False)


def strict_object_at(text: str, start: int) -> tuple[Pairs, int] | None:
    """Return the object at a brace and where it ends, ``None`` where no strict JSON is there."""
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def _lenient_object_at(text: str, start: int) -> tuple[Pairs, int, bool]:
    r"""Read an object with commas before closing brackets, comments, or escapes such as ``\'``."""
    kept, end, marked = _without_comments(text, start)
    if kept.count("\\") > MAX_LENIENT_TOKENS:
        raise _not_valid()
    try:
        pairs = _DECODER.decode(_HARMLESS_ESCAPE.sub(r"\1\2", kept))
    except (ValueError, RecursionError):
        raise _not_valid() from None
    return pairs, end, marked


def _without_comments(text: str, start: int) -> tuple[str, int, bool]:
    """Return an object without comments and last commas, where it ends, and as above."""
    kept: list[str] = []
    depth, comma_at, marked = 0, None, False
    for _ in range(MAX_LENIENT_TOKENS):
        token = _TOKEN.match(text, start)
        if token is None:
            break
        start, kind, part = token.end(), token.lastgroup, token[0]
        if kind == "comment":
            marked = marked or _MARKER.search(part) is not None
            continue
        if kind == "close" and comma_at is not None:
            kept[comma_at] = ""
        if kind == "comma":
            comma_at = len(kept)
        elif kind != "other" or not part.isspace():
            comma_at = None
        kept.append(part)
        depth += (kind == "open") - (kind == "close")
        if depth == 0:
            return "".join(kept), start, marked
        if depth > MAX_DEPTH:
            break
    raise _not_valid()


def _not_valid() -> Unclear:
    return Unclear("an object in the answer is not valid JSON, or is cut off")
