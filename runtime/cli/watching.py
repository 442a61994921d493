"""Watches a campaign in the queue, until nobody is left or Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from runtime.campaigns.progress import Progress
from runtime.cli.interruption import Interruption
from runtime.cli.ledger import print_json, run_async
from runtime.cli.queue import OpenQueue, opened_queue
from runtime.cli.terminal import harmless, terminal
from runtime.cli.views.campaigns import progress_line, progress_lines
from runtime.config import Config
from runtime.credits.results import LedgerUnavailable
from runtime.queue.errors import QueueUnavailable


def watch_campaign(
    config: Config, account_id: str, campaign_id: str, every_s: float, *, as_json: bool
) -> None:
    """Show a campaign anew every so many seconds, until nobody is left.

    Raises:
        CampaignUnknown, AccountUnknown: there is none.
        LedgerUnavailable, QueueUnavailable: at the first look; later ones are made again.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """

    def show_json(found: Progress) -> None:
        print_json({"account_id": account_id, **found.to_json()})
        sys.stdout.flush()

    async def run() -> None:
        async with opened_queue(config) as opened:
            if as_json:
                await _look(opened, account_id, campaign_id, every_s, show_json)
                return
            console = Console(file=terminal(sys.stdout), highlight=False, soft_wrap=True)
            if not console.is_terminal:
                await _look(opened, account_id, campaign_id, every_s, _show_line)
                return
            with Live(console=console, auto_refresh=False) as live:

                def show(found: Progress) -> None:
                    text = "\n".join(progress_lines(found))
                    live.update(Text(harmless(text)), refresh=True)

                await _look(opened, account_id, campaign_id, every_s, show)

    run_async(run())


async def _look(
    opened: OpenQueue,
    account_id: str,
    campaign_id: str,
    every_s: float,
    show: Callable[[Progress], object],
) -> None:
    found = await opened.progress(account_id, campaign_id)
    with Interruption():
        while True:
            show(found)
            if not found.left:
                return
            await asyncio.sleep(every_s)
            try:
                found = await opened.progress(account_id, campaign_id)
            except (LedgerUnavailable, QueueUnavailable) as error:
                click.echo(f"warning: {error}; looking again", err=True)


def _show_line(found: Progress) -> None:
    click.echo(progress_line(found))
    sys.stdout.flush()
