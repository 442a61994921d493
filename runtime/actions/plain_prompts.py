"""Templates that only print texts by their names, which need no Liquid to be rendered.

Most prompts are such templates, and a context and a buffer of Liquid's take four times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.output import OutputNode

from runtime.actions.render_budget import TEXT_LIMIT, Budget

Parts = tuple[str | tuple[str, ...], ...]
"""The template's own texts, and the paths that it prints between them."""

_STEPS_OF_A_PART = 2


def plain_parts(nodes: Iterable[Node]) -> Parts | None:
    """Return the parts of a parsed template, or ``None`` if it does more than print paths."""
    parts: list[str | tuple[str, ...]] = []
    for node in nodes:
        if type(node) is ContentNode:
            parts.append(node.text)
        elif isinstance(node, OutputNode) and (path := _path(node.expression)) is not None:
            parts.append(path)
        else:
            return None
    return tuple(parts)


def _path(expression: object) -> tuple[str, ...] | None:
    if type(expression) is FilteredExpression and not expression.filters:
        expression = expression.left
    if type(expression) is not Path:
        return None
    names = [name for name in expression.path if type(name) is str]
    return tuple(names) if len(names) == len(expression.path) else None


def plain_text(parts: Parts, data: Mapping[str, Any], budget: Budget) -> str | None:
    """Return the text for one person's data.

    ``None`` if a value is missing or no text, or the whole is longer than a prompt may be: Liquid
    is to render it then, or to say what is wrong.
    """
    texts: list[str] = []
    for part in parts:
        if type(part) is str:
            texts.append(part)
            continue
        value: Any = data.get(part[0])
        for name in part[1:]:
            value = value.get(name) if type(value) is dict else None
        if type(value) is not str:
            return None
        texts.append(value)
    text = "".join(texts)
    if len(text) > TEXT_LIMIT:
        return None
    budget.write(len(text))
    budget.step(_STEPS_OF_A_PART * len(parts))
    return text
