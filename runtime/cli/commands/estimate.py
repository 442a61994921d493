"""``creditgate estimate``: the cost of running an action for everybody in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import PATH, action_option, config_option, examples, json_option
from runtime.cli.people import check_people, column_options, format_options, rules_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.actions.spec import ActionSpec
    from runtime.campaigns.estimate import Estimate, Sample
    from runtime.campaigns.people import Person
    from runtime.campaigns.people_format import PeopleFormat
    from runtime.config import Config

_LINE_EVERY_S = 5.0


@click.command(
    epilog=examples(
        "creditgate estimate --action route_message --people people.csv",
        "creditgate estimate --action route_message --people people.csv --account acme",
        "creditgate estimate --action score_lead --people leads.jsonl --account acme \\",
        "    --sample 10000 --json",
    )
)
@config_option
@action_option
@click.option(
    "--people",
    "people_path",
    type=PATH,
    required=True,
    metavar="FILE",
    help="A .csv or .jsonl file, packed as .gz or not, as `creditgate run` takes it.",
)
@format_options
@column_options
@click.option(
    "--account",
    "account_id",
    metavar="ID",
    help="Say how far this account's credits would go.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N people.")
@click.option(
    "--sample",
    "sample_size",
    type=click.IntRange(min=2),
    default=2000,
    metavar="N",
    help="Of a longer file, render and count N people picked at random.",
)
@click.option(
    "--seed", type=int, default=0, help="The same seed picks the same people from a file."
)
@json_option
def estimate(  # noqa: PLR0913 - one parameter an option
    config_path: Path,
    action_id: str,
    people_path: Path,
    declared: tuple[str, ...],
    text_columns: bool,
    people_format: PeopleFormat,
    account_id: str | None,
    limit: int | None,
    sample_size: int,
    seed: int,
    as_json: bool,
) -> None:
    """Estimate the cost of an action for everybody in a file, without calling a model.

    The prompts of all people, or of a sample, are rendered and counted. How long answers are is
    taken from those that the action has had; without any, from its limits, which gives a wide
    range. Twenty answers are enough to go by, and each more makes the range narrower:
    `creditgate run --source test --limit 50`.

    It assumes a new answer for everybody; answers that a campaign already has cost nothing.
    """
    from runtime.campaigns.campaign import Campaign
    from runtime.campaigns.estimate import Sample
    from runtime.campaigns.people import PeopleFile
    from runtime.cli.config_file import find_action
    from runtime.cli.ledger import print_json, run_async

    config = load(config_path)
    people = PeopleFile(people_path, people_format)
    action = find_action(config, action_id, account_id)
    campaign = Campaign(account_id or "nobody", "default", "estimate", action)
    sample = Sample(sample_size, seed)
    rules = rules_for(action, declared, text_columns)
    summary = check_people(campaign, people, limit, rules, _hearing(sample))
    for data in sample.people:
        summary.columns.give_types(data)
    found = run_async(_ask(config, action, sample, account_id))
    if as_json:
        print_json({**found.to_json(), "columns": summary.columns.types()})
    else:
        click.echo("\n".join(_lines(found)))


def _hearing(sample: Sample) -> Callable[[Person], None]:
    """Return what adds people to the sample, and says now and then how many there were."""
    import time

    said_s = time.monotonic()

    def hear(person: Person) -> None:
        nonlocal said_s
        sample.add(person.data)
        if sample.total % 1_000 == 0 and time.monotonic() - said_s > _LINE_EVERY_S:
            said_s = time.monotonic()
            click.echo(f"{sample.total:,} people read", err=True)

    return hear


async def _ask(
    config: Config, action: ActionSpec, sample: Sample, account_id: str | None
) -> Estimate:
    from runtime.bootstrap import open_estimator

    click.echo(f"Counting {len(sample.people):,} people ...", err=True)
    async with open_estimator(config) as estimator:
        return await estimator.estimate(action, sample, account_id=account_id)


def _lines(found: Estimate) -> Iterator[str]:
    from runtime.cli.views.table import table
    from runtime.wording.amounts import credits_text
    from runtime.wording.estimates import counted_text, history_text, reach_text
    from runtime.wording.reasons import REASONS

    cost = found.cost
    model = f" on model {found.model_id}" if found.model_id else ""
    yield f"Action {found.action_id}{model}: {found.people:,} people, all with new answers"
    each = credits_text(round(cost.expected_mc / max(1, found.called)))
    yield from table(
        [
            ("expected", credits_text(cost.expected_mc), f"credits, {each} a call"),
            ("likely from", credits_text(cost.low_mc), "in 95 of 100 such campaigns"),
            ("to", credits_text(cost.high_mc), ""),
            ("at most", credits_text(cost.worst_mc), "if every answer were as long as it may be"),
        ],
        right=(1,),
    )
    if found.before_a_call:
        yield ""
        yield "Fallback values without a call, and so for free (people, because ...)"
        rows = [(f"{count:,}", REASONS[why]) for why, count in found.before_a_call.items()]
        yield from table(rows, right=(0,))
    yield ""
    yield counted_text(found.counted, found.people)
    yield history_text(found.answers_known)
    if found.reach is not None:
        yield ""
        yield reach_text(found.reach, found.people)
