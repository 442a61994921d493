"""The demo's campaign, and the processes that it runs on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.actions.requests import ExecutionResult
from runtime.campaigns.campaign import Campaign
from runtime.campaigns.people import PeopleFile, Person
from runtime.cli.campaign_run import RunReport, RunSettings, run_campaign
from runtime.cli.config_file import EXAMPLE, find_action
from runtime.cli.interruption import Interruption
from runtime.cli.options import BadInput
from runtime.cli.views.progress import Display
from runtime.config import Config, load_config
from runtime.credits.ledger import CreditLedger
from runtime.ledger_opening import connected, open_ledger
from runtime.redis.primaries import Client
from runtime.wording.reasons import REASONS

if TYPE_CHECKING:
    from runtime.archive.audit import Audit

ACCOUNT = "demo"
_ACTION = "route_message"
_OFFER = "welcome"
_ANSWERS_SHOWN = 2
_START_S = 30.0
_END_S = 5.0
_COMMAND_LINE = __package__


@dataclass(frozen=True, slots=True)
class Sample:
    """One person's message and what became of it."""

    message: str
    result: ExecutionResult

    def to_json(self) -> dict[str, Any]:
        """Return message and values in JSON types."""
        return {
            "message": self.message,
            "status": self.result.status,
            "values": self.result.values,
        }

    def lines(self) -> list[str]:
        """Return message and values as text."""
        origin = next(iter(self.result.origins.values()))
        mark = "model" if origin.reason is None else f"fallback: {REASONS[origin.reason]}"
        values = [f"    {name} = {value}" for name, value in self.result.values.items()]
        return [f'  "{self.message}" ({mark})', *values]


def prepare(folder: Path, limit: int | None, concurrency: int) -> tuple[Config, RunSettings]:
    """Return the example config, at home in ``folder``, and what is to be run with it."""
    shutil.copy(EXAMPLE, folder / "config.yaml")
    config = load_config(folder / "config.yaml")
    # Whenever the demo is run, its account gets this one offer.
    config = config.model_copy(update={"offers": {_OFFER: config.offers[_OFFER]}})
    campaign = Campaign(ACCOUNT, "demo", "demo", find_action(config, _ACTION))
    people = PeopleFile(Path(__file__).parents[1] / "demo_data" / "banking77" / "people.csv")
    summary = people.check(limit=limit, check_person=campaign.check)
    out = folder / "results.jsonl"
    return config, RunSettings(campaign, people, summary, concurrency, limit, out)


async def run_demo(
    config: Config, settings: RunSettings, latency_ms: float
) -> tuple[RunReport, list[Sample], Audit]:
    """Start what the demo needs, run the campaign, archive and audit it, stop everything."""
    # The last of each kind: they are from when credits had become scarce, and were out.
    samples: dict[str, deque[Sample]] = {
        "model": deque(maxlen=_ANSWERS_SHOWN),
        "fallback": deque(maxlen=1),
    }

    def sample(person: Person, result: ExecutionResult) -> None:
        if result.status in samples:
            samples[result.status].append(Sample(person.data["customer"]["message"], result))

    endpoint = config.models[settings.campaign.action.model].endpoint
    plan = next(name for name, section in config.plans.items() if section.ai_credits)
    with Interruption() as interruption, Display() as display:
        display.say("Starting a Redis server and a mock model provider ...", style="dim")
        async with (
            connected(config, None) as client,
            open_ledger(config, redis=client) as ledger,
            _mock_provider(latency_ms) as url,
        ):
            await ledger.accounts.open_account(ACCOUNT, plan=plan)
            config = config.with_api_base(endpoint, f"{url}/v1")
            report = await run_campaign(config, settings, display, interruption, sample)
            audit = await _audit(config, client, ledger)
    return report, [*samples["model"], *samples["fallback"]], audit


async def _audit(config: Config, client: Client, ledger: CreditLedger) -> Audit:
    """Archive all that happened, and replay it."""
    from runtime.archive.audit import Auditor  # brings SQLAlchemy, which a campaign can wait for
    from runtime.archive.copier import Copier
    from runtime.archive.opening import open_archive
    from runtime.credits.told import read_told
    from runtime.redis.keys import Keys

    keys, timeout_ms = Keys(config.redis.key_prefix), config.redis.timeout_ms
    async with open_archive(config, ledger.key_check) as database:
        await Copier(database, client, keys, timeout_ms=timeout_ms).run_once()
        told = read_told([config.data_dir / "told"], config.redis.key_prefix)
        return await Auditor(ledger.inspection, database, told).audit([ACCOUNT])


@asynccontextmanager
async def _mock_provider(latency_ms: float) -> AsyncIterator[str]:
    """Run the mock provider as a separate process; yield its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", _COMMAND_LINE, "mock-provider", "--json", "--until-stdin-closes"),
        *("--port", "0", "--latency-median-ms", str(latency_ms), "--latency-sigma", "0.3"),
        cwd=Path(__file__).parents[_COMMAND_LINE.count(".") + 1],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # A terminal's Ctrl-C is for us: executions that are running still need their model.
        start_new_session=True,
    )
    try:
        yield await _url(process)
    finally:
        # With nothing to await in between, so that it is told to end whatever happens.
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.shield(_ended(process))


async def _url(process: asyncio.subprocess.Process) -> str:
    if process.stdout is None:
        raise BadInput("the mock provider has no output to read")
    try:
        async with asyncio.timeout(_START_S):
            line = await process.stdout.readline()
    except TimeoutError:
        line = b""
    if not line:
        raise BadInput(f"the mock provider did not start within {_START_S:g} s")
    return str(json.loads(line)["url"])


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
