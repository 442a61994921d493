"""``creditgate campaign``: how far campaigns in the queue are, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    COMMAND_SETTINGS,
    BadInput,
    Duration,
    account_option,
    config_option,
    examples,
    json_option,
)

if TYPE_CHECKING:
    from runtime.campaigns.progress import Progress
    from runtime.campaigns.rerun import RerunEstimate
    from runtime.cli.queue import OpenQueue
    from runtime.config import Config

_F = TypeVar("_F", bound=Callable[..., Any])


def _campaign_option(function: _F) -> _F:
    """``--campaign ID``."""
    return click.option(
        "--campaign", "campaign_id", required=True, metavar="ID", help="The campaign."
    )(function)


def _group_option(function: _F) -> _F:
    """``--group NAME``, for any number of groups of reasons."""
    return click.option(
        "--group",
        "groups",
        multiple=True,
        type=click.Choice(["credits", "limits", "prompt", "model", "service"]),
        help="Only people with reasons of this group; may be given several times.  [default: all]",
    )(function)


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate campaign list --account acme",
        "creditgate campaign status --account acme --campaign spring --watch",
        "creditgate campaign pause --account acme --campaign spring",
        "creditgate campaign rerun --account acme --campaign spring --group credits",
    ),
)
def campaign() -> None:
    """Show how far campaigns in the queue are; pause, resume, stop and run them again.

    People come into the queue with `creditgate enqueue` or over HTTP, and workers run them.
    """


@campaign.command("list", epilog=examples("creditgate campaign list --account acme"))
@config_option
@account_option
@json_option
def list_campaigns(config_path: Path, account_id: str, as_json: bool) -> None:
    """List an account's campaigns in the queue, with how far each is."""
    from runtime.cli.ledger import print_json
    from runtime.cli.queue import with_queue
    from runtime.cli.views.campaigns import campaigns_lines

    found = with_queue(load(config_path), lambda opened: opened.campaigns(account_id))
    if as_json:
        items = [each.to_json() for each in found]
        print_json({"account_id": account_id, "campaigns": items})
        return
    click.echo("\n".join(campaigns_lines(found)))


@campaign.command(
    "status",
    epilog=examples(
        "creditgate campaign status --account acme --campaign spring",
        "creditgate campaign status --account acme --campaign spring --watch",
        "creditgate campaign status --account acme --campaign spring --json",
    ),
)
@config_option
@account_option
@_campaign_option
@click.option("--watch", is_flag=True, help="Go on showing it, until nobody is left or Ctrl-C.")
@click.option(
    "--every",
    "every_s",
    type=Duration(),
    default="2s",
    metavar="DURATION",
    help="With --watch: the time between two looks.",
)
@json_option
def status(
    config_path: Path,
    account_id: str,
    campaign_id: str,
    watch: bool,
    every_s: float,
    as_json: bool,
) -> None:
    """Show how far a campaign is.

    Who is done, waits and runs; how many fell back, by group of reasons; credits used, and
    expected in all if those that are left cost as much as those that are done; and the time left
    at the pace of the last minute or two.

    With --watch, a terminal shows it anew each time; elsewhere it is a line each time, with --json
    an object.
    """
    from runtime.cli.ledger import print_json
    from runtime.cli.queue import with_queue
    from runtime.cli.views.campaigns import progress_lines

    config = load(config_path)
    if watch:
        from runtime.cli.watching import watch_campaign

        watch_campaign(config, account_id, campaign_id, max(0.1, every_s), as_json=as_json)
        return
    found = with_queue(config, lambda opened: opened.progress(account_id, campaign_id))
    if as_json:
        print_json({"account_id": account_id, **found.to_json()})
        return
    click.echo("\n".join(progress_lines(found)))


@campaign.command(
    "pause", epilog=examples("creditgate campaign pause --account acme --campaign spring")
)
@config_option
@account_option
@_campaign_option
@json_option
def pause(config_path: Path, account_id: str, campaign_id: str, as_json: bool) -> None:
    """Hold a campaign back: what runs ends, and what waits stays in the queue."""
    _change(load(config_path), account_id, campaign_id, "pause", as_json=as_json)


@campaign.command(
    "resume", epilog=examples("creditgate campaign resume --account acme --campaign spring")
)
@config_option
@account_option
@_campaign_option
@json_option
def resume(config_path: Path, account_id: str, campaign_id: str, as_json: bool) -> None:
    """Let a campaign go on that was paused or stopped."""
    _change(load(config_path), account_id, campaign_id, "resume", as_json=as_json)


@campaign.command(
    "stop", epilog=examples("creditgate campaign stop --account acme --campaign spring")
)
@config_option
@account_option
@_campaign_option
@json_option
def stop(config_path: Path, account_id: str, campaign_id: str, as_json: bool) -> None:
    """Stop a campaign: what runs ends, and what waits is taken out of the queue.

    It is kept among the missed requests, for as long as those are: after a resume,
    `creditgate campaign rerun --group limits` puts it back. Nobody can be added meanwhile.
    """
    _change(load(config_path), account_id, campaign_id, "stop", as_json=as_json)


@campaign.command(
    "rerun",
    epilog=examples(
        "creditgate campaign rerun --account acme --campaign spring --dry-run",
        "creditgate campaign rerun --account acme --campaign spring --group credits",
        "creditgate campaign rerun --account acme --campaign spring --group credits \\",
        "    --group model --yes",
    ),
)
@config_option
@account_option
@_campaign_option
@_group_option
@click.option("--dry-run", is_flag=True, help="Show the estimate, and put nobody back.")
@click.option("--yes", "-y", is_flag=True, help="Put them back without a question.")
@json_option
def rerun(
    config_path: Path,
    account_id: str,
    campaign_id: str,
    groups: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Put people who fell back into the queue again, after an estimate of what it costs.

    Requests that fell back are kept for a time, by default 7 days. Each goes back under its own id
    where its fallback is not kept, else as its next retry, so nobody is charged twice for one
    answer. People whose request is not there any more are counted: enqueue them again.

    A terminal is asked first; without one, --yes puts them back.
    """
    from runtime.campaigns.rerun import groups_of
    from runtime.cli.ledger import print_json
    from runtime.cli.rerunning import put_back, rerun_estimate
    from runtime.cli.views.reruns import rerun_json, rerun_lines
    from runtime.wording.campaigns import put_back_lines

    config = load(config_path)
    wanted = groups_of(groups)
    estimate = rerun_estimate(config, account_id, campaign_id, wanted)
    if not as_json:
        click.echo("\n".join(rerun_lines(estimate)))
    if dry_run or not estimate.people:
        if as_json:
            print_json(rerun_json(estimate, None))
        return
    if not yes:
        _ask(estimate)
    ended = put_back(config, account_id, campaign_id, wanted)
    if as_json:
        print_json(rerun_json(estimate, ended))
    else:
        click.echo("\n".join(put_back_lines(ended.put_back, ended.left)))


def _ask(estimate: RerunEstimate) -> None:
    from runtime.cli.terminal import can_ask

    if not can_ask():
        raise BadInput("nobody was put back: say --yes, or --dry-run for the estimate alone")
    try:
        if click.confirm(f"Put back {estimate.people:,} people?", err=True):
            return
    except click.Abort:
        raise KeyboardInterrupt from None
    raise BadInput("nobody was put back")


def _change(
    config: Config, account_id: str, campaign_id: str, change: str, *, as_json: bool
) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.queue import with_queue
    from runtime.cli.views.campaigns import progress_lines
    from runtime.wording.campaigns import CHANGED

    async def ask(opened: OpenQueue) -> Progress:
        await opened.change(account_id, campaign_id, change)
        return await opened.progress(account_id, campaign_id)

    found = with_queue(config, ask)
    if as_json:
        print_json({"account_id": account_id, **found.to_json()})
        return
    click.echo(CHANGED[change])
    click.echo("\n".join(progress_lines(found)))
