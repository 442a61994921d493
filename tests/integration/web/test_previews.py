"""Previews over HTTP: prompts, credits, values, several people and models, and free ones."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runtime.api_keys.keys import Scope
from runtime.redis.embedded import EmbeddedRedis
from tests.harness.service import Served, open_served
from tests.harness.workbench import ACCOUNT, OUTPUTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ANN = {"person_id": "ann", "data": {"customer": {"message": "Where is my card?"}}}
_BOB = {"person_id": "bob", "data": {"customer": {"message": "Send money."}}}
_POOR = "poor"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(
    imported_litellm: None, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    folder: Path = tmp_path_factory.mktemp("previews")
    prefix = f"t{uuid.uuid4().hex[:12]}"
    async with open_served(folder / "data", redis_server.url, prefix) as service:
        await service.open_account()
        await service.service.ledger.accounts.open_account(_POOR, plan="growth")
        yield service


async def _preview(served: Served, status: int = 200, **body: Any) -> dict[str, Any]:
    whole = {"account_id": ACCOUNT, "action": "route", "people": [_ANN], **body}
    answer = await served.operator.post("/v1/previews", json=whole, timeout=60)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _balance(served: Served) -> tuple[int, int]:
    found = await served.service.ledger.accounts.balance(ACCOUNT)
    return found.charged_mc, found.journal_seq


def _draft(**changes: Any) -> dict[str, Any]:
    return {
        "id": "draft",
        "model": "writer",
        "user": "{{ customer.message }}",
        "outputs": OUTPUTS,
        "limits": {"max_output_tokens": 120},
        **changes,
    }


async def test_a_preview_shows_the_run_whole_and_charges_for_it(served: Served) -> None:
    before, _ = await _balance(served)
    found = await _preview(served)
    (one,) = found["previews"]
    assert one["prompt"][-1] == {"role": "user", "content": "Where is my card?"}
    assert one["quote"]["amount_mc"] == one["result"]["reserved_mc"] > 0
    assert one["result"]["status"] == "model"
    assert one["result"]["origins"]["intent"] == {"mark": "model", "reason": None, "because": None}
    assert one["answer"].startswith("{")
    assert one["result"]["attempts"]
    assert one["result"]["usage"]["output_tokens"] > 0
    assert one["result"]["timings_ms"]["total"] >= 0
    assert one["why"] is None
    assert (
        found["charged_mc"] == one["result"]["charged_mc"] == (await _balance(served))[0] - before
    )
    assert found["variants"][0]["charged_mc"] == found["charged_mc"]


async def test_one_click_is_one_execution(served: Served) -> None:
    ids = {(await _preview(served))["previews"][0]["result"]["execution_id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(each.startswith("preview.") for each in ids)


async def test_people_and_models_stand_side_by_side_with_their_credits(served: Served) -> None:
    variants = [{"name": "as it is"}, {"model": "wordy", "max_output_tokens": 60}]
    found = await _preview(served, people=[_ANN, _BOB], variants=variants)
    places = [(one["person_id"], one["variant"]) for one in found["previews"]]
    assert places == [("ann", 0), ("ann", 1), ("bob", 0), ("bob", 1)]
    assert [one["name"] for one in found["variants"]] == ["as it is", "wordy"]
    for variant in found["variants"]:
        its = [one for one in found["previews"] if one["variant"] == variant["variant"]]
        assert {one["model"] for one in its} == {variant["model"]}
        assert variant["charged_mc"] == sum(one["result"]["charged_mc"] for one in its)
        assert variant["from_model"] + variant["mixed"] + variant["fallback"] == 2
    assert found["charged_mc"] == sum(one["charged_mc"] for one in found["variants"])
    assert found["previews"][1]["quote"]["max_output_tokens"] == 60


async def test_more_than_a_hundred_previews_are_refused_and_none_is_run(served: Served) -> None:
    before = await _balance(served)
    found = await _preview(served, 422, people=[_ANN] * 51, variants=[{}, {"name": "again"}])
    assert found["errors"][0]["field"] == "variants"
    assert "102 previews" in found["detail"]
    assert await _balance(served) == before


async def test_a_draft_runs_without_being_saved(served: Served) -> None:
    draft = _draft(user="Hello {{ customer.message }}")
    found = await _preview(served, action=None, draft=draft)
    assert found["previews"][0]["prompt"][-1]["content"] == "Hello Where is my card?"
    assert found["previews"][0]["result"]["status"] == "model"


@pytest.mark.parametrize(
    "change, field, words, line",
    [
        ({"user": "one\n{{ customer.message | nope }}"}, "draft.user", "line 2", 2),
        ({"model": "writr"}, "draft.model", "writer", None),
        (
            {"outputs": {"a": {"type": "text", "max_length": 9}}},
            "draft.outputs.a.fallback",
            "missing",
            None,
        ),
        ({"limits": {"max_output_tokens": 0}}, "draft.limits.max_output_tokens", "more than", None),
        (
            {"limits": {"max_output_tokens": 9, "deadline_ms": 10_000_000}},
            "draft.limits.deadline_ms",
            "reservation",
            None,
        ),
        ({"tempreature": 1}, "draft.tempreature", "temperature", None),
    ],
)
async def test_a_bad_draft_names_the_field_and_the_line(
    served: Served, change: dict[str, Any], field: str, words: str, line: int | None
) -> None:
    found = await _preview(served, 422, action=None, draft=_draft(**change))
    (error,) = found["errors"]
    assert error["field"] == field
    assert words in error["message"]
    assert error.get("line") == line


async def test_a_variant_that_can_not_run_names_its_place(served: Served) -> None:
    found = await _preview(served, 422, variants=[{}, {"model": "nobody"}])
    assert found["errors"][0]["field"] == "variants.1.model"


@pytest.mark.parametrize(
    "body, field",
    [
        ({"action": None}, "action"),
        ({"draft": {"id": "a"}}, "action"),
        ({"people": []}, "people"),
        ({"people": [_ANN] * 101}, "people"),
        ({"variants": [{}] * 101}, "variants"),
        ({"people": [{"data": {"customers": {}}}]}, "people.0.data.customers"),
        ({"variants": [{"temperature": 3}]}, "variants.0.temperature"),
        ({"free": "yes"}, "free"),
    ],
)
async def test_a_wrong_body_names_the_field(
    served: Served, body: dict[str, Any], field: str
) -> None:
    assert (await _preview(served, 422, **body))["errors"][0]["field"] == field


async def test_an_unknown_action_or_version_is_not_found(served: Served) -> None:
    assert (await _preview(served, 404, action="nope"))["type"].endswith(":action_not_found")
    found = await _preview(served, 404, version="000000000000")
    assert found["type"].endswith(":action_not_found")


async def test_what_the_sample_lacks_is_named_and_the_fallback_says_why(served: Served) -> None:
    before = await _balance(served)
    found = await _preview(served, people=[{"data": {"customer": {"name": "Ann"}}}])
    (one,) = found["previews"]
    assert one["missing_attributes"] == ["customer.message"]
    assert one["result"]["status"] == "fallback"
    assert one["prompt"] is None
    assert "not known about the person" in one["why"]
    assert "customer.message" in one["result"]["detail"]
    assert await _balance(served) == before


async def test_without_credits_the_fallback_is_shown_with_the_reason_in_words(
    served: Served,
) -> None:
    found = await _preview(served, account_id=_POOR)
    (one,) = found["previews"]
    assert one["why"] == (
        "All values are fallback values, because the account has no usable credits left."
    )
    assert one["result"]["values"]["intent"] == "other"
    assert one["result"]["origins"]["intent"]["reason"] == "insufficient_credits"
    assert one["quote"]["amount_mc"] > 0
    assert (found["charged_mc"], found["available_after_mc"]) == (0, 0)


async def test_a_free_preview_touches_neither_ledger_nor_provider(served: Served) -> None:
    before, calls = await _balance(served), served.mock.stats()["requests"]
    found = await _preview(
        served, free=True, people=[_ANN, _BOB], variants=[{}, {"model": "wordy"}]
    )
    assert found["free"] is True
    assert found["note"].startswith("Free: a mock model")
    assert {one["result"]["status"] for one in found["previews"]} == {"model"}
    assert {one["result"]["charged_mc"] for one in found["previews"]} == {0}
    assert {one["result"]["kept"] for one in found["previews"]} == {False}
    assert all(one["quote"]["amount_mc"] > 0 and one["answer"] for one in found["previews"])
    assert (await _balance(served), served.mock.stats()["requests"]) == (before, calls)
    again = await _preview(served, account_id="nobody", free=True)
    assert again["previews"][0]["result"]["values"] == found["previews"][0]["result"]["values"]


async def test_long_prompts_are_cut_in_the_answer_and_marked(served: Served) -> None:
    person = {"data": {"customer": {"message": "x " * 60_000}}}
    found = await _preview(served, free=True, people=[person] * 20)
    assert all(one["is_cut"] for one in found["previews"])
    shown = sum(len(m["content"]) for one in found["previews"] for m in one["prompt"])
    assert shown <= 1_000_000


async def test_previewing_takes_its_scope_and_the_keys_own_account(served: Served) -> None:
    body = {"action": "route", "people": [_ANN], "free": True}
    client = await served.client(Scope.PREVIEW)
    assert (await client.post("/v1/previews", json=body)).status_code == 200
    other = await client.post("/v1/previews", json={**body, "account_id": "other"})
    assert (other.status_code, other.json()["type"]) == (
        404,
        "urn:creditgate:problem:account_not_found",
    )
    await client.aclose()
    client = await served.client(Scope.EXECUTE)
    assert (await client.post("/v1/previews", json=body)).status_code == 403
    await client.aclose()


async def test_models_say_what_they_cost(served: Served) -> None:
    answer = await served.operator.get("/v1/models")
    items = answer.json()["items"]
    costs = [one["typical_mc"] for one in items if one["typical_mc"] is not None]
    assert costs == sorted(costs)
    assert {one["class"] for one in items} <= {"quick", "reasoning"}
    assert any(one["cost_efficient"] for one in items)
    assert any(one["retires_on"] for one in items)
    assert min(one["relative_cost"] for one in items if one["relative_cost"]) == 1


async def test_models_are_compared_by_an_action(served: Served) -> None:
    query = {"action": "route", "account_id": ACCOUNT}
    answer = await served.operator.get("/v1/models", params=query)
    assert "an average run of route" in answer.json()["rule"]
    unknown = await served.operator.get("/v1/models", params={**query, "action": "nope"})
    assert unknown.status_code == 404
    without = await served.operator.get("/v1/models", params={"account_id": ACCOUNT})
    assert without.status_code == 422
