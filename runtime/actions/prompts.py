"""Liquid templates: the attributes that they read, and their text for one person.

A person's data is only ever printed, never parsed as a template. Templates load nothing, and how
much they may loop, keep and print is limited. Two things differ from standard Liquid, because a
model reads the text: a missing value is an error instead of a gap, and a list or an object prints
as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from io import StringIO
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, FalsyStrictUndefined, RenderContext, Token
from liquid.ast import Node
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.echo_tag import EchoNode, EchoTag
from liquid.exceptions import (
    LiquidError,
    LiquidTypeError,
    ResourceLimitError,
    UndefinedError,
)
from liquid.expression import Expression
from liquid.static_analysis import TemplateAnalysis, Variable
from liquid.undefined import UNDEFINED

from pricing.errors import CreditgateError
from runtime.actions.plain_prompts import plain_parts, plain_text
from runtime.actions.prompt_values import FILTERS, as_text
from runtime.actions.render_budget import ROUNDS_LIMIT, TEXT_LIMIT, Budget, TooLarge
from runtime.actions.template_source import SourceProblem, check_source, markup
from runtime.actions.text_uses import attributes_used_as_text
from runtime.hints import did_you_mean

SCOPES = frozenset({"customer", "event", "journey", "campaign", "workspace"})
"""The names under which a template finds data."""

_REMOVED_TAGS = ("include", "render", "tablerow")
"""Tags that load other templates (the first two) or write HTML."""


class PromptSyntaxError(CreditgateError, ValueError):
    """A template that can't be used. ``template`` is ``system`` or ``user``; lines start at 1."""

    def __init__(self, template: str, line: int, problem: str) -> None:
        super().__init__(f"{template} prompt, line {line}: {problem}")
        self.template = template
        self.line = line


class PromptError(CreditgateError):
    """A template that could not be rendered for one person's data.

    ``template`` is ``system`` or ``user``; ``path`` is the attribute that is missing, or ``None``
    for another failure. Neither message nor attributes hold a value of the data.
    """

    def __init__(self, template: str, line: int | None, problem: str, path: str | None) -> None:
        where = f"{template} prompt" if line is None else f"{template} prompt, line {line}"
        super().__init__(f"{where}: {problem}")
        self.template = template
        self.path = path


class _Context(RenderContext):
    """A context in which a null counts as missing, and all work is counted."""

    __slots__ = ("_local_sizes", "budget")

    def __init__(self, template: BoundTemplate, data: Mapping[str, Any], budget: Budget) -> None:
        super().__init__(template, globals=data)
        self.budget = budget
        self._local_sizes: dict[str, int] = {}

    @property
    def disabled_tags(self) -> list[str]:
        """None; Liquid asks for them before it renders a node, so that every node is counted."""
        self.budget.step()
        return _NONE_DISABLED

    @disabled_tags.setter
    def disabled_tags(self, _: object) -> None:
        pass

    def get(
        self, path: list[object], *, token: Token | None, default: object = UNDEFINED
    ) -> object:
        root = path[0]
        budget = self.budget
        is_data = root in SCOPES
        try:
            # Nothing in a template can take a scope's name, so that globals may be asked first.
            value = self.globals[root] if is_data else self.scope[root]  # type: ignore[index]  # roots that are not names were refused
            for segment in path[1:]:
                if type(value) is dict and segment in value:
                    value = value[segment]
                else:
                    value = self.get_item(
                        budget.without_nulls(value) if is_data else value, segment
                    )
        except (KeyError, TypeError, IndexError):
            value = None
        if value is None:
            if default is UNDEFINED:
                return self.env.undefined(str(root), token=token)
            return default
        budget.read(value)
        # What is not data was made of it, without nulls.
        return budget.without_nulls(value) if is_data else value

    def assign(self, key: str, val: Any) -> None:
        self._local_sizes[key] = self.budget.size(val)
        if sum(self._local_sizes.values()) > _VARIABLES_LIMIT:
            raise TooLarge(f"its variables take more than {_VARIABLES_LIMIT:,} characters")
        self.budget.step(len(self._local_sizes))
        self.locals[key] = val

    def raise_for_loop_limit(self, length: int = 1) -> None:
        self.budget.rounds(length)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        return _Buffer(self.budget)


_NONE_DISABLED: list[str] = []
_VARIABLES_LIMIT = 4 * TEXT_LIMIT


class _Buffer(StringIO):
    """Collects text up to a limit. Liquid's own turns \\r into \\n and refuses lone surrogates."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget
        self._room = TEXT_LIMIT

    def write(self, text: str) -> int:
        self._budget.write(len(text))
        self._room -= len(text)
        if self._room < 0:
            raise TooLarge(f"its text has more than {TEXT_LIMIT:,} characters")
        return super().write(text)


class _Range(RangeLiteral):
    """Numbers from one to another. Liquid's own makes a list of them all to turn them round."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        found = super().evaluate(context)
        if found.stop - found.start > ROUNDS_LIMIT:
            raise TooLarge(f"a range has more than {ROUNDS_LIMIT:,} numbers")
        return found


class _Template(BoundTemplate):
    context_class = _Context


class _OutputNode(OutputNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(as_text(self.expression.evaluate(context)))


class _Output(Output):
    node_class = _OutputNode


class _EchoNode(_OutputNode, EchoNode):
    pass


class _Echo(EchoTag):
    node_class = _EchoNode


class _Environment(Environment):
    template_class = _Template
    context_depth_limit = 30

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.add_tag(_Output)
        self.add_tag(_Echo)
        for name in _REMOVED_TAGS:
            del self.tags[name]
        self.filters = dict(FILTERS)


_ENVIRONMENT = _Environment(undefined=FalsyStrictUndefined)


class Prompt:
    """A compiled template.

    Args:
        name: what errors call it: ``system`` or ``user``.
        source: Liquid text.

    Raises:
        PromptSyntaxError: it does not parse, uses an unknown tag or filter, or reads from an
            unknown scope.
    """

    __slots__ = (
        "_attributes",
        "_name",
        "_nodes",
        "_paths",
        "_plain",
        "_source",
        "_static",
        "_template",
        "used_as_text",
    )

    def __init__(self, name: str, source: str) -> None:
        self._name = name
        self._source = source
        try:
            check_source(source)
            self._template = _ENVIRONMENT.from_string(source, name=name)
            analysis = self._template.analyze(include_partials=False)
        except SourceProblem as found:
            raise self._refusal(found.index, found.problem) from None
        except LiquidError as error:
            raise self._refusal(_error_index(source, error), str(error.message)) from None
        except RecursionError:
            raise self._refusal(0, "it is nested too deeply") from None
        self._nodes = self._template.nodes
        self._check(analysis)
        nodes = list(_walk(self._nodes, RenderContext(self._template)))
        _bound_ranges(nodes)
        self.used_as_text = attributes_used_as_text(e for node in nodes for e in node.expressions())
        """The attributes, by scope and name, that it compares with text or reads by letters."""
        self._paths = {
            variable.span.index: str(variable)
            for variables in analysis.variables.values()
            for variable in variables
        }
        self._attributes = tuple(
            sorted({_attribute(v) for found in analysis.globals.values() for v in found})
        )
        self._plain = plain_parts(self._nodes)
        self._static = None if "{{" in source or "{%" in source else _carriable(source)

    def required_attributes(self) -> tuple[str, ...]:
        """Return the paths that the template reads, as ``customer.first_name``, sorted.

        A path ends where a name is computed or an element of a list is picked; a scope's bare
        name means the whole scope.
        """
        return self._attributes

    def render(self, data: Mapping[str, Any], budget: Budget | None = None) -> str:
        """Return the text for one person's data, given by scope.

        Lone surrogates, which have no UTF-8 form, become U+FFFD; all else is verbatim.

        Args:
            budget: what the rendering may take, shared with other prompts; its own by default.

        Raises:
            PromptError: a value that is printed is missing or null, a filter failed, or a bound of
                ``render_budget`` was reached.
        """
        if self._static is not None:
            return self._static
        budget = budget or Budget()
        try:
            text = None if self._plain is None else plain_text(self._plain, data, budget)
            return _carriable(self._rendered(data, budget) if text is None else text)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - filters raise anything on odd data
            failure = self._failure(error)
        # Raised out here, it has no context: Liquid's own messages quote values of the data.
        raise failure

    def _rendered(self, data: Mapping[str, Any], budget: Budget) -> str:
        context = _Context(self._template, data, budget)
        buffer = _Buffer(budget)
        for node in self._nodes:
            node.render(context, buffer)
        return buffer.getvalue()

    def _failure(self, error: Exception) -> PromptError:
        token = getattr(error, "token", None)
        line = self._line(token.start_index) if token is not None else None
        if isinstance(error, UndefinedError):
            path = None if token is None else self._paths.get(token.start_index)
            what = path or "a value that it prints"
            return PromptError(self._name, line, f"{what} is missing", path)
        if isinstance(error, TooLarge):
            problem = f"it grows too large: {error.bound}"
        elif isinstance(error, ResourceLimitError):
            problem = "it grows too large: its tags are nested too deeply"
        elif isinstance(error, LiquidTypeError):
            problem = "it compares values of different types, such as text with a number"
        else:
            problem = f"it can't be rendered with this data ({type(error).__name__})"
        return PromptError(self._name, line, problem, None)

    def _check(self, analysis: TemplateAnalysis) -> None:
        for name, spans in analysis.filters.items():
            if name not in _ENVIRONMENT.filters:
                hint = did_you_mean(name, _ENVIRONMENT.filters, or_list=False)
                raise self._refusal(spans[0].index, f"unknown filter {name!r}{hint}")
        for node in _walk(self._nodes, RenderContext(self._template)):
            for name in (*node.template_scope(), *node.block_scope()):
                if name in SCOPES:
                    raise self._refusal(
                        node.token.start_index, f"{name!r} is a scope and can't be a variable"
                    )
        for root, variables in analysis.globals.items():
            if root not in SCOPES or not isinstance(variables[0].segments[0], str):
                path = variables[0] if isinstance(variables[0].segments[0], str) else "[...]"
                raise self._refusal(
                    variables[0].span.index,
                    f"'{path}' does not start with a scope: {', '.join(sorted(SCOPES))}"
                    f"{did_you_mean(root, SCOPES, or_list=False)}",
                )

    def _refusal(self, index: int, problem: str) -> PromptSyntaxError:
        return PromptSyntaxError(self._name, self._line(index), problem)

    def _line(self, index: int) -> int:
        return self._source.count("\n", 0, max(index, 0)) + 1


@lru_cache(maxsize=512)
def compiled(name: str, source: str) -> Prompt:
    """Return a ``Prompt`` that is compiled once: it takes up to 50 ms of CPU.

    Raises:
        PromptSyntaxError: as ``Prompt`` does.
    """
    return Prompt(name, source)


def _error_index(source: str, error: LiquidError) -> int:
    if error.token is not None and error.token.start_index >= 0:
        return error.token.start_index
    # Liquid knows no place for what is missing at the end of an expression: it is in the first
    # piece of markup that has the same error by itself.
    for start, end in markup(source):
        try:
            _ENVIRONMENT.from_string(source[start:end])
        except LiquidError as own:
            if own.message == error.message:
                return start
    return 0


def _walk(nodes: Iterable[Node], context: RenderContext) -> Iterable[Node]:
    for node in nodes:
        yield node
        yield from _walk(node.children(context, include_partials=False), context)


def _bound_ranges(nodes: Iterable[Node]) -> None:
    for node in nodes:
        expressions: list[Expression] = [*node.expressions()]
        while expressions:
            expression = expressions.pop()
            if type(expression) is RangeLiteral:
                # The parser has no seam for an expression class of ours.
                expression.__class__ = _Range
            expressions += expression.children()


def _attribute(variable: Variable) -> str:
    kept: list[Any] = []
    for depth, segment in enumerate(variable.segments):
        if not isinstance(segment, str) or (depth > 1 and segment in ("first", "last", "size")):
            break
        kept.append(segment)
    return str(Variable(kept, variable.span))


def _carriable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
