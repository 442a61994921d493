"""``creditgate run``: run an action for everybody in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    PATH,
    BadInput,
    Duration,
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
    from runtime.cli.campaign_run import RunReport, RunSettings
    from runtime.config import Config

_ARGUMENTS = "creditgate.run.arguments"


class _Run(click.Command):
    """Remembers its arguments, to tell how to run it again."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(
    cls=_Run,
    epilog=examples(
        "creditgate run --action route_message --people people.csv --account acme",
        "creditgate run --action route_message --people people.csv --account acme \\",
        "    --source test --limit 20",
        "creditgate run --action route_message --people people.csv --account acme \\",
        "    --column age=number --column customer_no=text",
        "creditgate run --action score_lead --people leads.jsonl --account acme \\",
        "    --campaign autumn --out results.jsonl --concurrency 64",
        "creditgate run --action score_lead --people leads.jsonl --account acme \\",
        "    --campaign autumn --out results.jsonl --retry-fallbacks",
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
    help="A .csv or .jsonl file, or one packed as .csv.gz or .jsonl.gz; one person a row, with a "
    "person_id. Other columns are attributes of the customer, or of another scope (event.pages). "
    "Empty cells count as not known.",
)
@format_options
@column_options
@account_option
@click.option(
    "--campaign",
    "campaign_id",
    metavar="ID",
    help="Names the campaign: run it again under the same name and no answer is charged twice.  "
    "[default: the name of the people file]",
)
@click.option("--workspace", "workspace_id", default="default", metavar="ID", help="The workspace.")
@click.option(
    "--source",
    type=click.Choice(["live", "test", "preview"]),
    default="live",
    help="What the executions are for; test and preview do not count as the campaign's own.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=32,
    help="Executions that run at once.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Processes that share the executions, which --concurrency counts for all together.  "
    "[default: the cores; fewer for fewer than 2,000 people or 8 executions at once for each]",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N people.")
@click.option(
    "--out",
    type=PATH,
    metavar="FILE",
    help="Write the results there as they come, one JSON object a line. Replaces those of an "
    "earlier run.",
)
@click.option("--force", is_flag=True, help="Let --out replace a file that holds no results.")
@click.option(
    "--retry-fallbacks",
    is_flag=True,
    help="Ask again for people who got fallback values alone when the campaign ran before.",
)
@click.option(
    "--patience",
    "patience_s",
    type=Duration(),
    default="10m",
    metavar="DURATION",
    help="How long to wait while nobody can get an answer: the provider is down, its key is wrong, "
    "Redis is away. As 30s, 10m or 1h; 0 does not wait.",
)
@click.option(
    "--then",
    "then",
    type=click.Choice(["stop", "fallback"]),
    default="stop",
    help="What to do after that: stop with exit status 3, or go on with fallback values.",
)
@click.option(
    "--yes",
    "-y",
    is_flag=True,
    help="Run without a question, even if the credits can't last for a tenth of the people.",
)
@json_option
@click.pass_context
def run(  # noqa: PLR0913 - one parameter an option
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
    concurrency: int,
    processes: int | None,
    limit: int | None,
    out: Path | None,
    force: bool,
    retry_fallbacks: bool,
    patience_s: float,
    then: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Run an action for everybody in a file, paid for from an account's credits.

    The whole file is checked first; nothing is charged if it has a mistake. It is read as a
    stream, so it can be of any size. If the credits can't last for a tenth of the people, the
    forecast is shown and you are asked; without a terminal the run then stops with exit status 2,
    unless there is --yes. When credits run out during the run, the action's fallback
    values take over.

    The types of the columns that the prompt reads are shown before the run. In a condition, a
    number is a number (age > 18), and false is false; 007 and +49 30 123 stay text.

    If you run the same campaign again, people who have an answer keep it for free, for as long as
    the config's outcome_ttl_hours say.

    While every call would fall back for a reason that passes (the provider is down, Redis is away),
    no more people are taken: the run waits, tries one person now and then, and goes on at full
    speed once somebody gets an answer. The people concerned are asked again. --patience and --then
    say for how long, and what follows.

    Ctrl-C (or SIGTERM) starts no more people and waits for running executions; a second one
    cancels them and gives their credits back. The exit status is then 130.

    SIGHUP does the same where the run has a terminal. Without one (a service, a container) it
    reads the config again: rates, models, endpoints and limits count from the next person on, the
    action stays. A mistake in the file is shown, and the old config goes on.
    """
    from runtime.actions.requests import Source
    from runtime.campaigns.campaign import Campaign
    from runtime.campaigns.estimate import Sample
    from runtime.campaigns.people import PeopleFile
    from runtime.campaigns.run import Then
    from runtime.cli.campaign_run import RunSettings
    from runtime.cli.config_file import find_action
    from runtime.cli.forecast import SAMPLE_SIZE, check_credits
    from runtime.cli.ledger import print_json, run_async
    from runtime.cli.sharing import processes_for
    from runtime.cli.views.summary import summary_json, summary_lines

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
    if out is not None:
        _check_out(out, force, people_path, config_path)
    sample = None if yes else Sample(SAMPLE_SIZE)
    hear = (lambda person: sample.add(person.data)) if sample else (lambda person: None)
    summary = check_people(campaign, people, limit, rules, hear)
    if sample is not None:
        for data in sample.people:
            summary.columns.give_types(data)
        check_credits(config, action, sample, account_id)
    settings = RunSettings(
        campaign,
        people,
        summary,
        concurrency=concurrency,
        limit=limit,
        out=out,
        retry_fallbacks=retry_fallbacks,
        force=force,
        patience_s=patience_s,
        then=Then(then),
        processes=processes or processes_for(summary.people, concurrency),
    )
    report = run_async(_run(config, settings, config_path))
    again = _again(ctx)
    if report.failure is not None:
        click.echo("\n".join(summary_lines(campaign, report, again)), err=True)
        raise report.failure
    if as_json:
        print_json(summary_json(campaign, summary.columns, report, again))
    else:
        click.echo("\n".join(summary_lines(campaign, report, again)))
    ctx.exit(exit_status(report))


def exit_status(report: RunReport) -> int:
    """Return the exit status of a run that came to its end."""
    from runtime.campaigns.run import Then
    from runtime.cli.failures import GAVE_UP, INTERRUPTED

    if report.interrupted:
        return INTERRUPTED
    if report.balance is not None and not report.balance.conserved:
        return 1
    stopped = report.gave_up is not None and report.gave_up.then is Then.STOP
    return GAVE_UP if stopped else 0


def _again(ctx: click.Context) -> str:
    """Return the command that asks again for those who got no answer."""
    import shlex

    arguments = ctx.meta[_ARGUMENTS]
    retry = () if "--retry-fallbacks" in arguments else ("--retry-fallbacks",)
    return shlex.join(["creditgate", "run", *arguments, *retry])


def _check_out(out: Path, force: bool, people_path: Path, config_path: Path) -> None:
    from runtime.cli.output_file import check_output

    for path, name in ((people_path, "people file"), (config_path, "config file")):
        if out.exists() and out.samefile(path):
            raise BadInput(f"--out: is the {name} itself; results need a file of their own")
    check_output(out, force=force)


async def _run(config: Config, settings: RunSettings, config_path: Path) -> RunReport:
    from runtime.cli.campaign_run import run_campaign
    from runtime.cli.interruption import Interruption
    from runtime.cli.reloading import ConfigReload, has_terminal
    from runtime.cli.views.progress import Display

    with Display() as display:
        reload = ConfigReload(config_path, display.say)
        with Interruption(None if has_terminal() else reload.ask) as interruption:
            display.say(f"Starting, for {settings.summary.people:,} people ...")
            return await run_campaign(config, settings, display, interruption, reload=reload)
