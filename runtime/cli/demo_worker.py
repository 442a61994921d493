"""``creditgate worker --demo``: two accounts on a bare machine, one with much more in the queue."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import click

from pricing.offers import GrantKind
from providers.mock.options import MockOptions
from providers.mock.server import start
from runtime.campaigns.campaign import Campaign
from runtime.campaigns.people import PeopleFile
from runtime.cli.config_file import EXAMPLE, find_action
from runtime.cli.ledger import run_async
from runtime.cli.service_logs import begin_logs
from runtime.cli.working import Settings, run_worker
from runtime.config import Config, load_config
from runtime.queue.entries import MOST_AT_ONCE, Ended
from runtime.queue.opening import build_queue
from runtime.redis.embedded import EmbeddedRedis
from runtime.worker.opening import OpenWorker

_ACTION = "route_message"
_PLAN = "growth"
_CREDITS_MC = 100_000_000
_PEOPLE = {"acme": 1_500, "corner-shop": 10}
_LATENCY_MS = 120


def demo_worker(settings: Settings, *, as_json: bool) -> int:
    """Work on a demo queue until it is empty, and remove its data; return the exit status.

    Raises:
        EmbeddedRedisUnavailable: there is no server program for the ledger.
        KeyboardInterrupt: a second signal ended it at once, or a first one before it was ready.
    """
    folder = Path(tempfile.mkdtemp(prefix="creditgate-worker-"))
    try:
        shutil.copy(EXAMPLE, folder / "config.yaml")
        config = load_config(folder / "config.yaml").model_copy(update={"offers": {}})
        begin_logs()
        click.echo("Starting a Redis server, a mock model and the worker ...", err=True)
        return run_async(_work(config, replace(settings, drains=True), as_json=as_json))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _work(config: Config, settings: Settings, *, as_json: bool) -> int:
    async with AsyncExitStack() as stack:
        mock = await start(MockOptions(port=0, latency_median_ms=_LATENCY_MS, latency_sigma=0.3))
        stack.push_async_callback(mock.aclose)
        endpoint = config.models[find_action(config, _ACTION).model].endpoint
        config = config.with_api_base(endpoint, f"{mock.url}/v1")
        # The engine has a client of its own, so the server's address has to be known to both.
        server = await stack.enter_async_context(EmbeddedRedis(config.data_dir / "redis"))
        redis = config.redis.model_copy(update={"url": server.url})
        config = config.model_copy(update={"redis": redis})
        progress = _Progress()
        return await run_worker(
            config, settings, None, as_json=as_json, on_ready=_fill, on_end=progress.note
        )


class _Progress:
    """Tells when an account's people have all ended."""

    def __init__(self) -> None:
        self._left = dict(_PEOPLE)
        self._since_s = asyncio.get_running_loop().time()

    def note(self, ended: Ended) -> None:
        """Hear of one."""
        account_id = ended.entry.request.account_id
        self._left[account_id] -= 1
        if not self._left[account_id]:
            seconds = asyncio.get_running_loop().time() - self._since_s
            click.echo(
                f"All {_PEOPLE[account_id]:,} people of {account_id} are done, {seconds:.1f} s "
                "after the start.",
                err=True,
            )


async def _fill(opened: OpenWorker) -> None:
    """Open the accounts, and put their people into the queue: the many first."""
    accounts = opened.runtime.accounts
    queue = build_queue(opened.config, opened.client)
    file = PeopleFile(Path(__file__).parents[1] / "demo_data" / "banking77" / "people.csv")
    action = find_action(opened.config, _ACTION)
    for account_id, count in _PEOPLE.items():
        await accounts.open_account(account_id, plan=_PLAN)
        await accounts.grant(
            account_id, amount_mc=_CREDITS_MC, kind=GrantKind.PROMOTIONAL, reference="demo"
        )
        campaign = Campaign(account_id, "demo", "welcome", action)
        requests = [
            replace(campaign.request(person), action=_ACTION)
            for person in islice(file.read(), count)
        ]
        for first in range(0, count, MOST_AT_ONCE):
            part = requests[first : first + MOST_AT_ONCE]
            await queue.add(account_id, "demo", "welcome", part)
        click.echo(f"{count:,} people of {account_id} are in the queue.", err=True)
    await queue.aclose()
