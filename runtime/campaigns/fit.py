"""What an action's prompts read, against what is known about people."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from runtime.actions.prompts import PromptError
from runtime.actions.spec import ActionSpec
from runtime.campaigns.people import PeopleError, Survey
from runtime.hints import did_you_mean

# customer.name, or customer['a name'] where it is no plain word; more of the path may follow.
_TOP = re.compile(r"""(\w+)(?:\.([^.\[]+)|\['([^']*)'\]|\["([^"]*)"\])""")


def missing_attributes(action: ActionSpec, known: Collection[tuple[str, str]]) -> tuple[str, ...]:
    """Return the paths that the prompts read and that are not known; they may have defaults.

    Args:
        known: attributes by scope and name, as ``("customer", "message")``.
    """
    return tuple(
        path
        for path in action.required_attributes()
        if (top := _TOP.match(path)) and (top[1], top[2] or top[3] or top[4]) not in known
    )


def check_fit(action: ActionSpec, survey: Survey, file: object) -> tuple[str, ...]:
    """Return the paths that the prompts read and nobody in the file has; they may have defaults.

    Raises:
        PeopleError: an attribute that nobody has is printed without a default, so that everybody
            would get fallback values. ``file`` is what the message calls the file.
    """
    missing = missing_attributes(action, survey.attributes)
    needed = [_lacking(action, person.data) for person in survey.sample]
    if all(path in missing for path in needed):
        there = [f"{scope}.{name}" for scope, name in survey.attributes]
        raise PeopleError(
            f"{file}: nobody has {needed[0]}, which the prompt of action {action.id!r} needs"
            f"{did_you_mean(str(needed[0]), there)}"
        )
    return missing


def _lacking(action: ActionSpec, data: Mapping[str, Mapping[str, object]]) -> str | None:
    """Return the path for lack of which the prompts can't be rendered, if that is so."""
    try:
        action.render(data)
    except PromptError as error:
        return error.path
    return None
