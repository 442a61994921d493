"""``creditgate enqueue``: put everybody in a file into a campaign's queue, for workers."""

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
from runtime.cli.people import (
    campaign_id_of,
    check_people,
    column_options,
    format_options,
    rules_for,
)

if TYPE_CHECKING:
    from runtime.campaigns.people_format import PeopleFormat
    from runtime.cli.enqueueing import EnqueueReport


@click.command(
    epilog=examples(
        "creditgate enqueue --action route_message --people people.csv --account acme",
        "creditgate enqueue --action score_lead --people leads.jsonl.gz --account acme \\",
        "    --campaign autumn --workspace retail",
        "creditgate enqueue --action score_lead --people leads.jsonl.gz --account acme \\",
        "    --campaign autumn --dry-run",
    ),
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
@account_option
@click.option(
    "--campaign",
    "campaign_id",
    metavar="ID",
    help="The campaign whose queue they go into.  [default: the name of the people file]",
)
@click.option("--workspace", "workspace_id", default="default", metavar="ID", help="The workspace.")
@click.option(
    "--source",
    type=click.Choice(["live", "test", "preview"]),
    default="live",
    help="What the executions are for; test and preview do not count as the campaign's own.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N people.")
@click.option(
    "--import-id",
    metavar="TEXT",
    help="A name for this import: what was added under it already is not added again.  "
    "[default: made from the file's content]",
)
@click.option("--dry-run", is_flag=True, help="Check the file, say what would be added, add none.")
@json_option
@click.pass_context
def enqueue(  # noqa: PLR0913 - one parameter an option
    ctx: click.Context,
    config_path: Path,
    action_id: str,
    people_path: Path,
    declared: tuple[str, ...],
    text_columns: bool,
    people_format: PeopleFormat,
    account_id: str,
    campaign_id: str | None,
    workspace_id: str,
    source: str,
    limit: int | None,
    import_id: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put everybody in a file into a campaign's queue, where workers take them from.

    The whole file is checked first; nobody is added if it has a mistake. It is read as a stream, so
    it can be of any size. Nothing is charged until a worker (`creditgate worker`) runs the action.

    Every row is added once. After Ctrl-C, a crash or an outage the same command goes on where it
    stopped, and once it has ended it adds nobody. A file with other content is another import, and
    people in both are charged once. With an --import-id of your own, other content under the
    same one is refused.

    While the campaign's queue is full, it waits for workers to make room.

    Ctrl-C (or SIGTERM) stops after the rows under way; the exit status is then 130.
    """
    from runtime.actions.requests import Source
    from runtime.campaigns.campaign import Campaign
    from runtime.campaigns.enqueueing import size_of
    from runtime.campaigns.people import PeopleFile
    from runtime.cli.config_file import find_action
    from runtime.cli.enqueueing import EnqueueSettings, content_of, enqueue_people
    from runtime.cli.failures import INTERRUPTED
    from runtime.cli.ledger import print_json, run_async
    from runtime.ids import is_reference

    if import_id is not None and is_reference(import_id) is None:
        raise BadInput("--import-id: must be text of 1 to 200 characters without controls")
    config = load(config_path)
    action = find_action(config, action_id, account_id)
    rules = rules_for(action, declared, text_columns)
    people = PeopleFile(people_path, people_format)
    campaign = Campaign(
        account_id=account_id,
        workspace_id=workspace_id,
        campaign_id=campaign_id_of(campaign_id, people_path),
        action=action,
        source=Source(source),
    )
    summary = check_people(
        campaign, people, limit, rules, lambda person: size_of(campaign.queued(person))
    )
    content = content_of(people_path, campaign, people_format, summary.columns)
    settings = EnqueueSettings(
        campaign, people, summary, content, import_id or f"file {content[:32]}", dry_run
    )
    report = run_async(enqueue_people(config, settings))
    if as_json:
        print_json(report.to_json())
    else:
        click.echo("\n".join(_lines(report)))
    if report.interrupted:
        ctx.exit(INTERRUPTED)


def _lines(report: EnqueueReport) -> list[str]:
    from runtime.wording.campaigns import enqueued_lines

    return enqueued_lines(
        report.campaign_id,
        report.people,
        report.accepted,
        report.position,
        dry_run=report.dry_run,
        interrupted=report.interrupted,
    )
