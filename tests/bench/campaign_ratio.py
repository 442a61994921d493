"""People a second of the demo's campaign, against a loop of bare ``litellm.acompletion``.

``campaign_ratio`` calls the model by ``acompletion`` too, ``direct_campaign_ratio`` directly.
"""

from __future__ import annotations

import asyncio
import time

from creditgate import ActionSpec
from providers.base import Message, ModelRoute
from runtime.campaigns.campaign import Campaign
from runtime.campaigns.people import PeopleFile
from runtime.campaigns.run import CampaignRun
from runtime.cli.views.results import ResultsFile
from tests.bench.bare import LiteLLMCaller
from tests.bench.conditions import median, say, spread
from tests.bench.loads import CONCURRENCY, run_calls
from tests.bench.registry import Measured
from tests.bench.stage import ACCOUNT, Stage, open_stage
from tests.harness.paths import ROOT

_PEOPLE = ROOT / "runtime" / "demo_data" / "banking77" / "people.csv"
_ACTION = "route_message"
_ROUNDS = 11
_PEOPLE_A_ROUND = 480
_LATENCY_SIGMA = 0.3


def measure(latency_ms: float, route: ModelRoute) -> Measured:
    """Measure with a model that takes so many milliseconds in the median."""
    return asyncio.run(_measure(latency_ms, route))


async def _measure(latency_ms: float, route: ModelRoute) -> Measured:
    async with open_stage(
        route=route, latency_ms=latency_ms, latency_sigma=_LATENCY_SIGMA
    ) as stage:
        spec = stage.config.actions[_ACTION]
        prompts = [
            spec.render(person.data) for person in PeopleFile(_PEOPLE).read(limit=_PEOPLE_A_ROUND)
        ]
        bare = LiteLLMCaller(stage, spec)
        await _campaign_s(stage, spec, "warm-up")
        await _bare_s(bare, prompts)
        rounds: list[tuple[float, float]] = []
        for number in range(_ROUNDS):
            if number % 2:
                bare_s = await _bare_s(bare, prompts)
                campaign_s = await _campaign_s(stage, spec, f"round{number}")
            else:
                campaign_s = await _campaign_s(stage, spec, f"round{number}")
                bare_s = await _bare_s(bare, prompts)
            rounds.append((_PEOPLE_A_ROUND / campaign_s, _PEOPLE_A_ROUND / bare_s))
            campaign_rate, bare_rate = rounds[-1]
            say(f"  {number + 1} of {_ROUNDS}: {campaign_rate:.0f} and {bare_rate:.0f} a second")
    ratios = [campaign / bare for campaign, bare in rounds]
    return Measured(
        median(ratios),
        {
            **spread(ratios),
            "people_a_round": _PEOPLE_A_ROUND,
            "concurrency": CONCURRENCY,
            "route": str(route),
            "campaign_people_per_s": median([campaign for campaign, _ in rounds]),
            "bare_people_per_s": median([bare for _, bare in rounds]),
            "latency_median_ms": latency_ms,
            "latency_sigma": _LATENCY_SIGMA,
            "redis_server": stage.redis,
        },
    )


async def _campaign_s(stage: Stage, spec: ActionSpec, campaign_id: str) -> float:
    """Run the campaign as `run` does, under a name of its own, so that everybody is new."""
    campaign = Campaign(ACCOUNT, "bench", campaign_id, spec)
    people = PeopleFile(_PEOPLE)
    with ResultsFile(stage.folder / f"{campaign_id}.jsonl") as results:
        run = CampaignRun(stage.runtime, campaign, concurrency=CONCURRENCY, on_result=results.write)
        since_s = time.perf_counter()
        tally = await run.run(people.read(limit=_PEOPLE_A_ROUND))
        seconds = time.perf_counter() - since_s
    if tally.model != _PEOPLE_A_ROUND:
        raise RuntimeError(f"not everybody was answered: {tally}")
    return seconds


async def _bare_s(bare: LiteLLMCaller, prompts: list[list[Message]]) -> float:
    since_s = time.perf_counter()
    await run_calls(bare.call, prompts)
    return time.perf_counter() - since_s
