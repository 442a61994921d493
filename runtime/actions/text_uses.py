"""The attributes that a template treats as text, whatever their values look like.

A condition that compares with text, as ``customer.tier == "3"``, means text: it is never true of a
number. So columns of a file that such conditions read are not turned into numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from liquid.builtin.expressions.filtered import FilteredExpression
from liquid.builtin.expressions.logical import ContainsExpression, EqExpression, NeExpression
from liquid.builtin.expressions.path import Path
from liquid.builtin.expressions.primitive import StringLiteral
from liquid.expression import Expression

_PARTS = frozenset({"first", "last", "size"})
"""Properties, and filters, that read text by its letters. Others turn numbers into text first."""


def attributes_used_as_text(expressions: Iterable[Expression]) -> frozenset[tuple[str, str]]:
    """Return the attributes that a template's expressions use as text, by scope and name."""
    found = set()
    for expression in _all(expressions):
        for path in _used_as_text(expression):
            scope, name = [*path.path, None, None][:2]
            if isinstance(scope, str) and isinstance(name, str):
                found.add((scope, name))
    return frozenset(found)


def _all(expressions: Iterable[Expression]) -> Iterator[Expression]:
    left = list(expressions)
    while left:
        expression = left.pop()
        yield expression
        left += expression.children()


def _used_as_text(expression: Expression) -> Iterator[Path]:
    if isinstance(expression, Path):
        if any(isinstance(part, int) or str(part) in _PARTS for part in expression.path[2:]):
            yield expression
        return
    if isinstance(expression, FilteredExpression):
        filters = expression.filters or ()
        if isinstance(expression.left, Path) and any(found.name in _PARTS for found in filters):
            yield expression.left
        return
    sides = list(expression.children())
    left = getattr(expression, "left", None)
    if isinstance(left, Expression) and left not in sides:
        sides.append(left)  # `when` has its alternatives alone as children
    paths = [side for side in sides if isinstance(side, Path)]
    equates = isinstance(expression, (EqExpression, NeExpression)) and len(paths) == len(sides)
    if equates or any(isinstance(side, StringLiteral) for side in sides):
        yield from paths
    elif isinstance(expression, ContainsExpression) and isinstance(expression.left, Path):
        yield expression.left
