"""``creditgate preview``: one execution, whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    PATH,
    BadInput,
    account_option,
    action_option,
    config_option,
    examples,
    json_option,
)
from runtime.cli.people import column_options, format_options, rules_for, tell_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending
    from runtime.campaigns.column_types import ColumnRules, Columns
    from runtime.campaigns.people import PeopleFile, Person
    from runtime.campaigns.people_format import PeopleFormat
    from runtime.campaigns.people_rows import Data
    from runtime.config import Config
    from runtime.executions.execution import Execution

_NOBODY = "preview"


@click.command(
    epilog=examples(
        "creditgate preview --action route_message --account acme \\",
        "    --attribute message='Where is my card?' --attribute first_name=Ann",
        "creditgate preview --action score_lead --account acme \\",
        """    --person '{"first_name": "Ann", "job_title": "nurse"}'""",
        "creditgate preview --action route_message --account acme \\",
        "    --people people.csv --person-id p00042",
    )
)
@config_option
@action_option
@account_option
@click.option(
    "--person",
    "person_json",
    metavar="JSON",
    help="The person: an object of attributes, or of scopes (customer, event...) that hold them.",
)
@click.option("--people", "people_path", type=PATH, metavar="FILE", help="Take the person from it.")
@click.option("--person-id", metavar="ID", help="Which person of the file.  [default: the first]")
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="One attribute, of the customer or of another scope (event.pages=3), with the type that a "
    "cell like it has; may be given several times.",
)
@format_options
@column_options
@click.option("--workspace", "workspace_id", default="default", metavar="ID", help="The workspace.")
@click.option("--campaign", "campaign_id", default="preview", metavar="ID", help="The campaign.")
@json_option
def preview(  # noqa: PLR0913 - one parameter an option
    config_path: Path,
    action_id: str,
    account_id: str,
    person_json: str | None,
    people_path: Path | None,
    person_id: str | None,
    attributes: tuple[str, ...],
    declared: tuple[str, ...],
    text_columns: bool,
    people_format: PeopleFormat,
    workspace_id: str,
    campaign_id: str,
    as_json: bool,
) -> None:
    """Run an action for one person and show everything about it: the receipt.

    The prompt as it is sent, what it may cost at most, each call of the model, its raw answer,
    the values and where each comes from, and what was charged. Each call of this command is an
    separate execution, and costs credits if the config's charge_previews says so.
    """
    from runtime.actions.requests import ExecutionRequest, Pending, Source
    from runtime.campaigns.fit import missing_attributes
    from runtime.campaigns.people import PeopleFile
    from runtime.cli.config_file import find_action
    from runtime.cli.failures import refusals
    from runtime.cli.ledger import print_json, run_async
    from runtime.cli.views.receipt import receipt_lines
    from runtime.previews.receipt import receipt_json
    from runtime.previews.running import preview_id

    config = load(config_path)
    action = find_action(config, action_id, account_id)
    rules = rules_for(action, declared, text_columns)
    people = None if people_path is None else PeopleFile(people_path, people_format)
    person, columns = _person(person_json, people, person_id, attributes, rules)
    known = {(scope, name) for scope, names in person.data.items() for name in names}
    for path in missing_attributes(action, known):
        click.echo(f"note: the prompt reads {path}, which this person does not have", err=True)
    with refusals():
        request = ExecutionRequest(
            execution_id=preview_id(action.id),
            account_id=account_id,
            workspace_id=workspace_id,
            campaign_id=campaign_id,
            person_id=person.person_id,
            action=action,
            data=person.data,
            source=Source.PREVIEW,
        )
    result, execution = run_async(_run(config, request))
    if isinstance(result, Pending):
        raise BadInput(f"the execution {result.execution_id} runs elsewhere")
    if as_json:
        print_json({**receipt_json(action, result, execution), "columns": columns.types()})
    else:
        click.echo("\n".join(receipt_lines(action, result, execution)))


async def _run(
    config: Config, request: ExecutionRequest
) -> tuple[ExecutionResult | Pending, Execution | None]:
    from runtime.bootstrap import open_runtime
    from runtime.cli.interruption import Interruption
    from runtime.cli.views.progress import Display
    from runtime.ledger_opening import open_ledger

    with Interruption(), Display() as display:
        # Asked before LiteLLM is imported, which takes seconds.
        async with open_ledger(config) as ledger:
            await ledger.accounts.balance(request.account_id)
            async with open_runtime(config, on_alert=display.tell) as runtime:
                return await runtime.execute_traced(request)


def _person(
    person_json: str | None,
    people: PeopleFile | None,
    person_id: str | None,
    attributes: tuple[str, ...],
    rules: ColumnRules,
) -> tuple[Person, Columns]:
    """Return the person that the options describe, and the types of the file's columns.

    Raises:
        BadInput: they do not describe one.
        PeopleError: what is wrong with the file, or with the JSON.
    """
    from dataclasses import replace

    from runtime.campaigns.column_types import Columns
    from runtime.campaigns.people_rows import Person, normal_id, parse_person
    from runtime.cli.failures import refusals

    if person_json is not None and people is not None:
        raise BadInput("--person and --people: give one of them, not both")
    texts = _texts(attributes)
    wanted = None if person_id is None else normal_id(person_id)
    person, columns = Person(wanted or _NOBODY, {}, 1), Columns()
    if person_json is not None:
        person = parse_person(person_json, "--person", person.person_id)
    elif people is not None:
        # What is given by itself need not be a column of the file.
        ours = {name: kind for name, kind in rules.declared.items() if name not in texts}
        person, columns = _from_file(people, wanted, replace(rules, declared=ours))
        known = {column.name: column.type for column in columns.all} | dict(rules.declared)
        rules = replace(rules, declared={n: kind for n, kind in known.items() if n in texts})
    with refusals():
        _add(person.data, texts, rules)
    return person, columns


def _from_file(
    file: PeopleFile, person_id: str | None, rules: ColumnRules
) -> tuple[Person, Columns]:
    columns = file.check(rules=rules).columns
    tell_columns(columns)
    people = file.read(columns=columns)
    found = next((one for one in people if person_id in (None, one.person_id)), None)
    if found is None:
        raise BadInput(f"--person-id: no person in {file.path} has it")
    return found, columns


def _texts(attributes: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in attributes:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInput("--attribute: must be like first_name=Ann")
        found[name] = value
    return found


def _add(data: Data, texts: Mapping[str, str], rules: ColumnRules) -> None:
    """Add attributes to a person's, with the types that cells like them have.

    Raises:
        ValueError: one has not the type that is declared, or lies within another.
    """
    from runtime.campaigns.column_types import Survey
    from runtime.campaigns.people_rows import attribute_path, place

    paths = {name: attribute_path(name) for name in texts}
    survey = Survey(paths, rules)
    for name, text in texts.items():
        one: Data = {}
        place(one, paths[name], text)
        survey.check(one)
        survey.infer(one, 1)
        place(data, paths[name], text)
    survey.found().give_types(data)
