"""The fit between what an action's prompts read and what is known about people."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from runtime.actions.prompts import PromptError, compiled
from runtime.actions.spec import ActionSpec
from runtime.campaigns.column_types import ColumnRules, ColumnType
from runtime.campaigns.people import PeopleError, PeopleSummary, Person
from runtime.hints import did_you_mean

# customer.name, or customer['a name'] if it is not a plain word; more of the path may follow.
_TOP = re.compile(r"""(\w+)(?:\.([^.\[]+)|\['([^']*)'\]|\["([^"]*)"\])""")


def missing_attributes(action: ActionSpec, known: Collection[tuple[str, str]]) -> tuple[str, ...]:
    """Return the paths that the prompts read and that are unknown; they may have defaults.

    Args:
        known: attributes by scope and name, as ``("customer", "message")``.
    """
    return tuple(
        path
        for path in action.required_attributes()
        if (top := _top(path)) is not None and top not in known
    )


def column_rules(
    action: ActionSpec, declared: Mapping[str, ColumnType], *, text_only: bool = False
) -> ColumnRules:
    """Return the rules for the columns of a file that an action runs for.

    Args:
        declared: types by the columns' names.
        text_only: columns are text unless they are declared.
    """
    prompts = compiled("system", action.system), compiled("user", action.user)
    return ColumnRules(
        declared=declared,
        text_only=text_only,
        read=frozenset(_top(path) or (path, "") for path in action.required_attributes()),
        as_text=prompts[0].used_as_text | prompts[1].used_as_text,
    )


def check_fit(action: ActionSpec, summary: PeopleSummary, file: object) -> tuple[str, ...]:
    """Return the paths that the prompts read and nobody in the file has; they may have defaults.

    Raises:
        PeopleError: the prompt needs an attribute that nobody has, so that everybody would get
            fallback values. ``file`` is its name in the message.
    """
    missing = missing_attributes(action, summary.attributes)
    found = failures(action, summary.sample)
    stopped_by = [failure and failure.path for failure in found]
    if all(path in missing for path in stopped_by):
        present = [f"{scope}.{name}" for scope, name in summary.attributes]
        raise PeopleError(
            f"{file}: nobody has {stopped_by[0]}, which the prompt of action {action.id!r} needs"
            f"{did_you_mean(str(stopped_by[0]), present)}"
        )
    return missing


def _top(path: str) -> tuple[str, str] | None:
    """Return scope and name of a path; ``None`` if it is all of a scope."""
    found = _TOP.match(path)
    return found and (found[1], found[2] or found[3] or found[4])


def failures(action: ActionSpec, people: Iterable[Person]) -> list[PromptError | None]:
    """Return why the prompts can't be rendered for each of these people; ``None`` if they can."""
    return [_failure(action, person.data) for person in people]


def _failure(action: ActionSpec, data: Mapping[str, Mapping[str, object]]) -> PromptError | None:
    try:
        action.render(data)
    except PromptError as error:
        return error
    return None
