"""What an execution ends with: values, origins, charges, and one outcome an id."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.actions.requests import InvalidRequest, Pending, Source
from runtime.actions.source import UnknownAction
from runtime.credits.results import ExecutionConflict
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, action, reasons


async def test_an_answered_execution_gives_typed_values_and_charges_its_real_usage(
    bench: Workbench,
) -> None:
    result = await bench.execute()

    assert result.status == "model"
    assert result.kept
    assert result.values["intent"] in ("card", "transfer", "other")
    assert 0 <= result.values["score"] <= 10
    assert result.usage is not None
    # 1,000 and 10,000 credits per million tokens are 1 and 10 millicredits a token.
    assert result.charged_mc == result.usage.input_tokens + 10 * result.usage.output_tokens
    assert result.charged_mc <= result.reserved_mc
    books = await bench.books()
    assert books.charged_mc == result.charged_mc
    assert result.available_after_mc == books.available_mc


async def test_law_12_every_value_says_where_it_came_from(open_bench: OpenWorkbench) -> None:
    async with open_bench(scenario="malformed=wrong_types") as bench:
        result = await bench.execute()

    for name, origin in result.origins.items():
        assert name in result.values
        assert (origin.mark == "fallback") == (origin.reason is not None)
    plain = result.to_json()
    assert set(plain["origins"]) == set(plain["values"])


async def test_outputs_are_written_to_their_stores_and_attributes(bench: Workbench) -> None:
    result = await bench.execute()

    assert result.attributes == {
        "journey": {"intent": result.values["intent"], "reply": result.values["reply"]},
        "customer": {"lead_score": result.values["score"]},
    }


async def test_law_3_asking_again_gives_the_first_outcome_without_a_call_or_a_charge(
    bench: Workbench,
) -> None:
    request = bench.request()
    first = await bench.run(request)
    calls, books = await bench.calls(), await bench.books()

    again = await bench.run(request)

    assert again.replayed
    assert not first.replayed
    for name in ("values", "attributes", "origins", "status", "charged_mc", "usage"):
        assert getattr(again, name) == getattr(first, name), name
    assert await bench.calls() == calls
    assert (await bench.books()).charged_mc == books.charged_mc


async def test_law_3_a_redelivery_after_a_deploy_gets_the_first_outcome(bench: Workbench) -> None:
    request = bench.request()
    first = await bench.run(request)
    outputs = {"verdict": {"type": "boolean", "fallback": False}}

    again = await bench.execute(
        action(outputs=outputs), execution_id=request.execution_id, person_id=request.person_id
    )

    assert again.values == first.values
    assert again.attributes == first.attributes
    assert again.action_version == first.action_version


async def test_law_3_many_at_once_with_one_id_make_one_call_and_one_charge(
    bench: Workbench,
) -> None:
    request = bench.request()

    results = await asyncio.gather(*[bench.run(request) for _ in range(12)])

    assert await bench.calls() == 1
    assert len({str(result.values) for result in results}) == 1
    assert sum(not result.replayed for result in results) == 1
    assert (await bench.books()).charged_mc == results[0].charged_mc


@pytest.mark.parametrize(
    "change",
    [
        {"workspace_id": "other"},
        {"campaign_id": "other"},
        {"person_id": "other"},
        {"action": "other"},
        {"source": Source.TEST},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_an_id_reused_for_something_else_is_a_conflict_that_names_the_field(
    bench: Workbench, change: dict[str, Any]
) -> None:
    first = bench.request()
    await bench.run(first)
    fields = {name: getattr(first, name) for name in first.__slots__} | change
    if "action" in change:
        fields["action"] = action(id="other")

    with pytest.raises(ExecutionConflict) as caught:
        await bench.run(bench.request(**fields))

    assert caught.value.field == next(iter(change))


async def test_attributes_and_prompts_may_change_between_deliveries(bench: Workbench) -> None:
    first = bench.request()
    given = await bench.run(first)

    again = await bench.execute(
        action(user="Say something about {{ customer.message }}"),
        execution_id=first.execution_id,
        person_id=first.person_id,
        data={"customer": {"message": "changed"}},
    )

    assert again.values == given.values


async def test_an_unknown_action_is_the_callers_mistake(bench: Workbench) -> None:
    with pytest.raises(UnknownAction, match="no_such_action"):
        await bench.execute(action="no_such_action")


async def test_a_malformed_request_is_refused_before_anything_happens(bench: Workbench) -> None:
    with pytest.raises(InvalidRequest, match="account_id"):
        await bench.execute(account_id="no spaces allowed")
    assert await bench.calls() == 0


async def test_previews_charge_like_any_other_run(bench: Workbench) -> None:
    result = await bench.execute(source=Source.PREVIEW)

    assert result.charged_mc > 0
    assert (await bench.books()).charged_mc == result.charged_mc


async def test_law_5_no_account_no_call(bench: Workbench) -> None:
    result = await bench.execute(account_id="nobody")

    assert reasons(result) == {FallbackReason.ACCOUNT_UNKNOWN}
    assert await bench.calls() == 0


async def test_a_trial_plan_always_uses_fallback_values(bench: Workbench) -> None:
    await bench.runtime.accounts.open_account("trial-account", plan="trial")

    result = await bench.execute(account_id="trial-account")

    assert reasons(result) == {FallbackReason.PLAN_NOT_ELIGIBLE}
    assert await bench.calls() == 0


async def test_no_credits_at_all_is_insufficient_credits(open_bench: OpenWorkbench) -> None:
    async with open_bench(credits_mc=0) as bench:
        request = bench.request()
        result = await bench.run(request)
        again = await bench.run(request)

        assert reasons(result) == {FallbackReason.INSUFFICIENT_CREDITS}
        assert result.values == action().fallbacks
        assert result.charged_mc == 0
        assert again.replayed
        assert again.values == result.values
        assert await bench.calls() == 0


async def test_a_rest_too_small_for_any_answer_is_execution_too_large(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(credits_mc=200) as bench:
        result = await bench.execute()

        assert reasons(result) == {FallbackReason.EXECUTION_TOO_LARGE}
        assert result.available_after_mc == 200
        assert await bench.calls() == 0


async def test_law_1_with_less_than_the_worst_case_left_the_output_limit_is_lowered(
    open_bench: OpenWorkbench,
) -> None:
    spec = action(limits={"max_output_tokens": 1_000, "min_output_tokens": 100})
    async with open_bench(credits_mc=2_000) as bench:
        result, trace = await bench.traced(bench.request(spec))

        assert trace.progress.lowered
        assert 100 <= trace.progress.quote.max_output_tokens < 1_000
        assert result.reserved_mc <= 2_000
        assert result.status == "model"
        await bench.books()


async def test_law_6_an_answer_cut_off_by_a_limit_that_we_lowered_is_not_charged(
    open_bench: OpenWorkbench,
) -> None:
    spec = action(limits={"max_output_tokens": 1_000, "min_output_tokens": 3})
    async with open_bench(credits_mc=400) as bench:
        result, trace = await bench.traced(bench.request(spec))

        assert trace.progress.lowered
        assert reasons(result) == {FallbackReason.OUTPUT_TRUNCATED}
        assert result.charged_mc == 0
        books = await bench.books()
        assert books.charged_mc == 0
        assert books.exposure_mc > 0


async def test_law_6_an_answer_cut_off_by_the_actions_own_limit_is_charged(
    bench: Workbench,
) -> None:
    result = await bench.execute(action(limits={"max_output_tokens": 3}))

    assert reasons(result) == {FallbackReason.OUTPUT_TRUNCATED}
    assert result.charged_mc > 0
    assert (await bench.books()).charged_mc == result.charged_mc


async def test_credits_that_running_executions_hold_are_waited_for(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(credits_mc=2_600, latency_median_ms=100) as bench:
        results = await asyncio.gather(*[bench.execute() for _ in range(3)])

        # One worst case is about 1,800: together they would not fit, one after another they do.
        assert [result.status for result in results].count("model") >= 2
        await bench.books()


async def test_credits_reserved_elsewhere_are_told_apart_from_none(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(credits_mc=2_000, latency_median_ms=3_000) as bench:
        running = asyncio.create_task(bench.execute())
        await bench.until_reserved()
        waiting = await bench.execute(action(limits={"min_output_tokens": 120}))

        assert reasons(waiting) == {FallbackReason.CREDITS_RESERVED_ELSEWHERE}
        assert (await running).status == "model"
        await bench.books()


async def test_law_4_while_the_same_id_runs_elsewhere_it_is_pending_and_has_no_values(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(latency_median_ms=1_500) as bench:
        request = bench.request()
        running = asyncio.create_task(bench.run(request))
        await bench.until_reserved()
        hasty = await bench.runtime.execute(
            bench.request(
                action(limits={"deadline_ms": 800}),
                execution_id=request.execution_id,
                person_id=request.person_id,
            )
        )

        assert isinstance(hasty, Pending)
        assert hasty.execution_id == request.execution_id
        # It is the reservation's time to live, the most that the other execution can take.
        assert 0 < hasty.retry_after_ms <= 120_000
        assert hasty.to_json() == asdict(hasty)
        first = await running
        again = await bench.run(request)
        assert (again.status, again.values) == ("model", first.values)


async def test_a_missing_attribute_is_a_prompt_error_that_names_it(bench: Workbench) -> None:
    result = await bench.execute(data={"customer": {"name": "Ada"}})

    assert reasons(result) == {FallbackReason.PROMPT_ERROR}
    assert "customer.message" in (result.detail or "")
    assert await bench.calls() == 0


async def test_an_inline_action_on_a_model_without_a_price_is_not_called(
    open_bench: OpenWorkbench,
) -> None:
    def leave_the_price_out(config: dict[str, Any]) -> None:
        del config["rate_cards"][0]["rates"]["writer"]

    async with open_bench(change=leave_the_price_out) as bench:
        result = await bench.execute()

        assert reasons(result) == {FallbackReason.MODEL_NOT_PRICED}
        assert result.detail == "rate card '2026-01' has no price for model 'writer'"
        assert await bench.calls() == 0


async def test_a_model_that_the_config_lacks_is_named_with_those_that_it_has(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a mistake in the host's code, and must not look like an outage."""
    results = [await bench.execute(action(model="writter")) for _ in range(2)]
    other = await bench.execute(action(model="gpt-9"))

    for result in results:
        assert reasons(result) == {FallbackReason.MODEL_UNAVAILABLE}
        assert not result.kept
        assert result.detail == ("the configuration has no model 'writter'; did you mean 'writer'?")
    assert other.detail == (
        "the configuration has no model 'gpt-9'; there are hanging, other, replaced, retired, "
        "wordy, writer"
    )
    logged = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert logged == [f"action 'route': {results[0].detail}", f"action 'route': {other.detail}"]
    assert await bench.calls() == 0


async def test_a_retired_model_is_unavailable_unless_another_may_stand_in(bench: Workbench) -> None:
    retired = await bench.execute(action(model="retired"))
    replaced = await bench.execute(action(model="replaced"))
    insisted = await bench.execute(action(model="replaced", allow_replacement_model=False))

    assert reasons(retired) == {FallbackReason.MODEL_UNAVAILABLE}
    assert retired.detail == (
        "model 'retired' has retired on 2026-01-01, and nothing may be called in its place"
    )
    assert replaced.status == "model"
    assert reasons(insisted) == {FallbackReason.MODEL_UNAVAILABLE}


async def test_no_slot_within_the_deadline_is_deadline_exceeded(open_bench: OpenWorkbench) -> None:
    async with open_bench(max_concurrency=1) as bench:
        async with bench.turns_taken(1):
            result = await bench.execute(action(limits={"deadline_ms": 200}))

        assert reasons(result) == {FallbackReason.DEADLINE_EXCEEDED}
        assert "this process" in (result.detail or "")
        assert await bench.calls() == 1, "the one that took the turn"


async def test_law_3_a_charged_id_whose_values_are_gone_is_outcome_lost_and_charged_before(
    bench: Workbench,
) -> None:
    request = bench.request()
    first = await bench.run(request)
    ledger = bench.ledger
    attempt = ledger.attempt(
        account_id=ACCOUNT,
        execution_id=request.execution_id,
        workspace_id="retail",
        campaign_id="welcome",
        person_id=request.person_id,
        action="route",
        source="live",
    )
    key = bench.keys.outcome(ACCOUNT, attempt.execution_key)
    stored = await bench.redis.get(key)
    assert isinstance(stored, bytes)
    await bench.redis.set(key, stored.partition(b"\n")[0] + b"\n")

    again = await bench.run(request)

    assert reasons(again) == {FallbackReason.OUTCOME_LOST}
    assert again.charged_mc == first.charged_mc
    assert again.replayed, "what it cost was charged then"
    assert await bench.calls() == 1
