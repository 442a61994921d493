"""The options, the check and the notes that commands with a people file share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from runtime.cli.options import BadInput

if TYPE_CHECKING:
    from runtime.actions.spec import ActionSpec
    from runtime.campaigns.campaign import Campaign
    from runtime.campaigns.column_types import ColumnRules, Columns, ColumnType
    from runtime.campaigns.people import PeopleFile, PeopleSummary, Person

_F = TypeVar("_F", bound=Callable[..., Any])


def format_options(function: _F) -> _F:
    """``--delimiter``, ``--encoding`` and ``--id-column``, which become ``people_format``."""

    @functools.wraps(function)
    def with_format(
        *args: Any, delimiter: str | None, encoding: str, id_column: str, **options: Any
    ) -> Any:
        from runtime.campaigns.people_format import PeopleFormat
        from runtime.cli.failures import refusals

        with refusals():
            form = PeopleFormat(delimiter, encoding, id_column)
        return function(*args, people_format=form, **options)

    delimiter_option = click.option(
        "--delimiter",
        metavar="CHARACTER",
        help="What separates the columns of a .csv file: one character, or comma, semicolon, tab "
        "or bar, which are found without it.",
    )
    encoding_option = click.option(
        "--encoding",
        default="utf-8",
        metavar="NAME",
        help="The encoding of a people file, such as windows-1252 or utf-16.",
    )
    id_option = click.option(
        "--id-column",
        default="person_id",
        metavar="NAME",
        help="The column (or key) of a people file that holds the person's id.",
    )
    return cast("_F", delimiter_option(encoding_option(id_option(with_format))))


def column_options(function: _F) -> _F:
    """``--column NAME=TYPE`` and ``--text-columns``."""
    column = click.option(
        "--column",
        "declared",
        multiple=True,
        metavar="NAME=TYPE",
        help="The type of a .csv column: number, boolean, text or date; may be given several "
        "times. Other columns are numbers or booleans if all of their cells are, and else text.",
    )
    text_columns = click.option(
        "--text-columns", is_flag=True, help="Columns without --column are text, all of them."
    )
    return column(text_columns(function))


def rules_for(action: ActionSpec, declared: tuple[str, ...], text_columns: bool) -> ColumnRules:
    """Return the rules for the columns that the options describe.

    Raises:
        BadInput: a ``--column`` names no type, or one column twice.
    """
    from runtime.campaigns.fit import column_rules

    return column_rules(action, _declared(declared), text_only=text_columns)


def _declared(options: tuple[str, ...]) -> Mapping[str, ColumnType]:
    from runtime.campaigns.column_types import ColumnType

    found: dict[str, ColumnType] = {}
    for text in options:
        name, _, kind = text.rpartition("=")
        if not name or kind not in set(ColumnType):
            allowed = ", ".join(f"NAME={kind.value}" for kind in ColumnType)
            raise BadInput(f"--column: found {text!r}, allowed are {allowed}")
        if name in found:
            raise BadInput(f"--column: {name!r} is there twice")
        found[name] = ColumnType(kind)
    return found


def campaign_id_of(given: str | None, people_path: Path) -> str:
    """Return the campaign's id: the one that was given, or the name of the people file.

    Raises:
        BadInput: it has other characters than ids may have.
    """
    import re

    from runtime.campaigns.campaign import CAMPAIGN_ID_RULE, is_campaign_id

    if given is None:
        return re.sub(r"[^A-Za-z0-9_-]", "-", _stem(people_path))[:64] or "campaign"
    if is_campaign_id(given) is None:
        raise BadInput(f"--campaign: found {given!r}, allowed are {CAMPAIGN_ID_RULE}")
    return given


def _stem(people_path: Path) -> str:
    """Return the file's name without its ending; packed or not, it is the same campaign."""
    packed = people_path.suffix.lower() == ".gz"
    return people_path.with_suffix("").stem if packed else people_path.stem


def check_people(
    campaign: Campaign,
    people: PeopleFile,
    limit: int | None,
    rules: ColumnRules,
    hear: Callable[[Person], object] = lambda person: None,
) -> PeopleSummary:
    """Find what is wrong with the file, before anything is charged.

    Args:
        hear: is told each person who is all right, whose attributes have no types yet.

    Raises:
        BadInput: an id that was given can't be used.
        PeopleError: the file, or what it lacks for the action.
    """
    from runtime.campaigns.fit import check_fit, failures
    from runtime.campaigns.people import Person
    from runtime.cli.failures import refusals

    with refusals():
        campaign.check(Person("somebody", {}, 1))
    click.echo(f"Checking {people.path} ...", err=True)

    def check(person: Person) -> None:
        campaign.check(person)
        hear(person)

    summary = people.check(limit=limit, check_person=check, rules=rules)
    missing = check_fit(campaign.action, summary, people.path)
    tell_columns(summary.columns)
    stopped = failures(campaign.action, summary.sample)
    if all(stopped):
        who = f"first {len(stopped)} people" if len(stopped) > 1 else "first person"
        click.echo(f"note: the {who} would get fallback values: {stopped[0]}", err=True)
    for path in missing:
        click.echo(f"note: the prompt reads {path}, which nobody in {people.path} has", err=True)
    return summary


def tell_columns(columns: Columns) -> None:
    """Say on stderr which types the columns have."""
    from runtime.cli.views.columns import columns_text, doubt_lines

    if text := columns_text(columns):
        click.echo(text, err=True)
    for line in doubt_lines(columns):
        click.echo(line, err=True)
