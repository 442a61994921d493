"""A changed configuration comes into force without a restart, whole or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from creditgate import Config, ConfigError, ExecutionResult, RuntimeClosed
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason, ModelRoute
from runtime.actions.spec import ActionSpec
from tests.harness.workbench import OpenWorkbench, Workbench, action, make_config


def _changed(bench: Workbench, change: Any, **parts: Any) -> Config:
    """The bench's config, changed as told."""
    before = bench.config
    return make_config(
        before.data_dir,
        before.redis.url,
        before.redis.key_prefix,
        str(before.endpoints["mock"].api_base),
        change=change,
        **parts,
    )


def _dearer(config: dict[str, Any]) -> None:
    config["rate_cards"][0]["version"] = "dearer"
    for rates in config["rate_cards"][0]["rates"].values():
        rates["input"] *= 2
        rates["output"] *= 2


async def test_new_rates_count_from_the_next_execution_and_those_under_way_keep_the_old_ones(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(latency_median_ms=300) as bench:
        under_way = asyncio.create_task(bench.execute())
        await asyncio.sleep(0.1)
        await bench.runtime.reload(_changed(bench, _dearer))
        after = await bench.execute()
        before = await under_way

    assert (before.rate_card_version, after.rate_card_version) == ("2026-01", "dearer")
    assert before.status == after.status == "model"
    for result, factor in ((before, 1), (after, 2)):
        usage = result.usage
        assert usage is not None
        assert result.charged_mc == factor * (usage.input_tokens + 10 * usage.output_tokens)


async def test_an_edited_prompt_is_used_from_the_next_execution(open_bench: OpenWorkbench) -> None:
    def with_prompt(prompt: str) -> Any:
        spec = action(system=prompt).model_dump(mode="json", exclude={"id"})
        return lambda config: config.update(actions={"greet": spec})

    async with open_bench(change=with_prompt("Be kind.")) as bench:
        versions = []
        for prompt in ("Be kind.", "Be brief."):
            await bench.runtime.reload(_changed(bench, with_prompt(prompt)))
            result = await bench.runtime.execute(bench.request(action="greet"))
            assert isinstance(result, ExecutionResult)
            versions.append(result.action_version)
            found = await bench.runtime.actions.get("acme", "greet")
            assert isinstance(found, ActionSpec)
            assert found.version == result.action_version
        assert versions[0] != versions[1]


class _Asked:
    """A model that remembers on which route it was asked."""

    def __init__(self) -> None:
        self.routes: list[ModelRoute] = []

    async def complete(self, request: CompletionRequest) -> Completion:
        self.routes.append(request.route)
        return Completion("{}", FinishReason.STOP, TokenUsage(40, 20))

    async def aclose(self) -> None:
        pass


async def test_a_model_changes_its_route_from_the_next_execution(open_bench: OpenWorkbench) -> None:
    def by_acompletion(config: dict[str, Any]) -> None:
        config["models"]["writer"]["route"] = "acompletion"

    asked = _Asked()
    async with open_bench(provider=asked) as bench:
        await bench.execute()
        await bench.runtime.reload(_changed(bench, by_acompletion))
        await bench.execute()

    assert asked.routes == [ModelRoute.AUTO, ModelRoute.ACOMPLETION]


async def test_what_needs_a_restart_is_refused_by_name_and_nothing_changes(
    open_bench: OpenWorkbench,
) -> None:
    def other(config: dict[str, Any]) -> None:
        _dearer(config)
        config["redis"]["key_prefix"] = "other"
        config["plans"]["scale"] = {"ai_credits": True}
        config["executions"]["outcome_ttl_hours"] = 999

    async with open_bench() as bench:
        with pytest.raises(ConfigError) as refused:
            await bench.runtime.reload(_changed(bench, other))
        assert [mistake.path for mistake in refused.value.mistakes] == [
            "redis",
            "plans",
            "executions.outcome_ttl_hours",
        ]
        assert "takes a restart" in str(refused.value)
        assert (await bench.execute()).rate_card_version == "2026-01"
        runtime = bench.runtime
    with pytest.raises(RuntimeClosed):
        await runtime.reload(bench.config)


async def test_the_limit_of_an_endpoint_counts_those_under_way_over_a_reload(
    open_bench: OpenWorkbench,
) -> None:
    parts = {"max_concurrency": 1}
    async with open_bench(latency_median_ms=200, **parts) as bench:
        first = asyncio.create_task(bench.execute())
        await asyncio.sleep(0.05)
        await bench.runtime.reload(_changed(bench, _dearer, **parts))
        await asyncio.gather(first, bench.execute(), bench.execute())
        assert bench.mock.stats()["peak_in_flight"] == 1
