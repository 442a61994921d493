"""Parts of long texts: where their tokens may be counted apart, and their normal form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

SEGMENT_CHARS = 64_000
_PART_CHARS = 512
"""Texts are normalized in parts: sorting accents takes the square of their number."""

CUT = re.compile(
    r"(?<=[^\W_])(?=[\s.,:;!?。、，！？])"  # noqa: RUF001 - as they stand in Chinese texts
    r"|(?<=\S)(?= )"
    r"|(?<=\S[\r\n])(?= ?[^\s/])"
)
"""Places that no match of the encodings' patterns spans: after a word or a number, before a space,
after a single line break that follows text. None of the patterns looks back across them either."""


def segments(text: str) -> Iterable[str]:
    """Yield parts of a long text, cut where every encoding cuts it too, so that counts add up.

    tiktoken's matcher runs out of stack on some texts of a million characters, and its panic is
    not an ``Exception`` (openai/tiktoken issues 15 and 245).
    """
    start = 0
    while start < len(text):
        end = _next_cut(text, start + SEGMENT_CHARS)
        yield text[start:end]
        start = end


def _next_cut(text: str, start: int) -> int:
    """Return where to cut next, the end if nowhere.

    The search goes on in steps, since no other thread runs meanwhile: a million letters take it
    80 ms.
    """
    while start < len(text):
        # A cut depends on two characters beyond it at most.
        cut = CUT.search(text, start, start + SEGMENT_CHARS + 2)
        if cut:
            return cut.start()
        start += SEGMENT_CHARS
    return len(text)


def composed(text: str) -> str:
    """Return a text as NFKC has it, but for what the borders of the parts keep apart."""
    if text.isascii():
        return text
    parts = range(0, len(text), _PART_CHARS)
    return "".join(unicodedata.normalize("NFKC", text[part : part + _PART_CHARS]) for part in parts)


def bytes_of(text: str) -> int:
    """Return the bytes of a text in UTF-8, with three for a lone surrogate."""
    return len(text.encode("utf-8", "surrogatepass"))
