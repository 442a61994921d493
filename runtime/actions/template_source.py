"""Checks of a template's text before Liquid reads it, for whose lexer some texts take minutes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runtime.actions.render_budget import TEXT_LIMIT

MARKUP_LIMIT = 20_000
"""The most characters between ``{{`` and ``}}``, and ``{%`` and ``%}``, of a template together."""

_BLANKS_LIMIT = 200
"""The most blanks in a row within markup: Liquid's lexer goes through each of them many times."""

_OPENING = re.compile(r"\{[{%]")
_BLANKS = re.compile(rf"\s{{{_BLANKS_LIMIT + 1}}}")
_BLOCK = re.compile(r"\{%-?\s{0,200}(end)?(raw|doc|comment)\b")


class SourceProblem(Exception):
    """A template that Liquid should not read. ``index`` is the place of the problem."""

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        self.problem = problem


def check_source(source: str) -> None:
    """Refuse what takes Liquid longer than its length explains.

    Raises:
        SourceProblem: it is too long, or markup or a block of text is never closed.
    """
    if len(source) > TEXT_LIMIT:
        raise SourceProblem(0, f"it has more than {TEXT_LIMIT:,} characters")
    length = 0
    for start, end in markup(source):
        if end < 0:
            opening = source[start : start + 2]
            closing = "}}" if opening == "{{" else "%}"
            raise SourceProblem(start, f"expected '{closing}' after '{opening}'")
        if _BLANKS.search(source, start, end):
            raise SourceProblem(start, f"more than {_BLANKS_LIMIT} blanks in a row")
        length += end - start
        if length > MARKUP_LIMIT:
            raise SourceProblem(start, f"more than {MARKUP_LIMIT:,} characters of markup")
    _check_blocks(source)


def markup(source: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each piece of markup; the end is -1 for one that never ends."""
    end = 0
    for opening in _OPENING.finditer(source):
        if opening.start() >= end:
            closed = source.find("}}" if opening[0] == "{{" else "%}", opening.end())
            yield opening.start(), closed + 2 if closed >= 0 else -1
            if closed < 0:
                return
            end = closed + 2


def _check_blocks(source: str) -> None:
    blocks = list(_BLOCK.finditer(source))
    last_ends = {block[2]: block.start() for block in blocks if block[1]}
    for block in blocks:
        if block.start() > last_ends.get(block[2], -1):
            raise SourceProblem(block.start(), f"{block[2]} tag was never closed")
