"""The launch check over HTTP: range, balance, caps, expiries, shares and warnings."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pricing.offers import GrantKind
from runtime.api_keys.keys import Scope
from runtime.credits.caps import Cap
from runtime.redis.embedded import EmbeddedRedis
from tests.harness.service import Served, open_served
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ANN = {"customer": {"message": "Where is my card?"}}


def _with_caps(config: dict[str, Any]) -> None:
    config["default_caps"] = {"campaign": {"credits": 1, "window": "total"}}
    config["executions"]["max_credits"] = 100
    route = config["actions"]["route"]
    config["actions"]["greet"] = {**route, "user": "Greet. " * 100}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(
    imported_litellm: None, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    folder: Path = tmp_path_factory.mktemp("estimates")
    prefix = f"t{uuid.uuid4().hex[:12]}"
    async with open_served(folder / "data", redis_server.url, prefix, _with_caps) as service:
        await service.open_account()
        yield service


async def _estimate(served: Served, status: int = 200, **body: Any) -> dict[str, Any]:
    whole = {"account_id": ACCOUNT, "actions": [{"action": "route"}], "people": 1_000, **body}
    answer = await served.operator.post("/v1/estimates", json=whole, timeout=60)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _account(served: Served, *grants: tuple[int, datetime | None]) -> str:
    account_id = f"a{uuid.uuid4().hex[:8]}"
    accounts = served.service.ledger.accounts
    await accounts.open_account(account_id, plan="growth")
    for number, (amount_mc, expires_at) in enumerate(grants):
        await accounts.grant(
            account_id,
            amount_mc=amount_mc,
            kind=GrantKind.PROMOTIONAL,
            reference=f"g{number}",
            expires_at=expires_at,
        )
    return account_id


def _kinds(found: dict[str, Any]) -> list[str]:
    return [warned["kind"] for warned in found["warnings"]]


async def test_the_range_of_all_actions_is_that_of_each_added_up(served: Served) -> None:
    found = await _estimate(
        served, actions=[{"action": "route"}, {"action": "greet", "people": 400}], sample=[_ANN]
    )
    assert found["people"] == 1_000
    assert [one["people"] for one in found["actions"]] == [1_000, 400]
    for part in ("expected_mc", "low_mc", "high_mc", "worst_mc"):
        assert found["cost"][part] == sum(one["cost"][part] for one in found["actions"])
    cost = found["cost"]
    assert 0 < cost["low_mc"] <= cost["expected_mc"] <= cost["high_mc"] <= cost["worst_mc"]
    assert sum(one["share_percent"] for one in found["actions"]) == pytest.approx(100, abs=0.2)


async def test_an_audience_may_be_a_count_alone(served: Served) -> None:
    counted = await _estimate(served)
    sampled = await _estimate(served, sample=[_ANN])
    assert counted["actions"][0]["counted"] == 0
    assert counted["cost"]["expected_mc"] > 0
    assert sampled["actions"][0]["counted"] == 1
    assert sampled["actions"][0]["called"] == counted["actions"][0]["called"] == 1_000


async def test_it_says_for_how_many_people_the_credits_are_enough(served: Served) -> None:
    expected_mc = (await _estimate(served, sample=[_ANN]))["cost"]["expected_mc"]
    account_id = await _account(served, (expected_mc * 83 // 100, None))
    found = await _estimate(served, account_id=account_id, sample=[_ANN])
    assert found["reach"]["covers"] == "less"
    assert 820 <= found["reach"]["people"] <= 830
    assert "of 1,000 people" in found["summary"]
    assert _kinds(found) == ["not_enough", "share_of_balance"]
    assert "121% of the available credits" in found["warnings"][1]["text"]


async def test_a_rich_account_is_warned_of_nothing(served: Served) -> None:
    account_id = await _account(served, (10**12, None))
    found = await _estimate(served, account_id=account_id, sample=[_ANN])
    assert (found["reach"]["covers"], found["warnings"]) == ("worst_case", [])


async def test_caps_that_would_be_reached_are_named_even_those_to_come(served: Served) -> None:
    account_id = await _account(served, (10**12, None))
    for number, cap in enumerate((Cap("month", action="greet"), Cap("day", source="preview"))):
        await served.service.ledger.accounts.set_cap(
            account_id, cap, limit_mc=1, reference=f"c{number}"
        )
    found = await _estimate(
        served,
        account_id=account_id,
        campaign_id="spring",
        actions=[{"action": "route"}, {"action": "greet"}],
        sample=[_ANN],
    )
    caps = {one["cap"]: one for one in found["caps"]}
    assert set(caps) == {"month;action=greet", "total;campaign_id=spring"}
    assert caps["month;action=greet"]["reached"] == "expected"
    assert caps["month;action=greet"]["expected_mc"] == found["actions"][1]["cost"]["expected_mc"]
    assert caps["total;campaign_id=spring"]["begins"] is True
    assert _kinds(found) == ["cap", "cap"]


async def test_credits_that_expire_are_named_and_what_an_even_pace_leaves_unused(
    served: Served,
) -> None:
    now = datetime.now(UTC)
    soon = now + timedelta(days=10)
    expected_mc = (await _estimate(served, sample=[_ANN]))["cost"]["expected_mc"]
    account_id = await _account(served, (expected_mc, soon), (10 * expected_mc, None))
    without = await _estimate(served, account_id=account_id, sample=[_ANN])
    assert without["expiring"][0]["lost_mc"] is None
    assert without["expiring"][0]["expires_at"].startswith(f"{soon:%Y-%m-%d}")
    ends_at = (now + timedelta(days=20)).isoformat()
    found = await _estimate(served, account_id=account_id, sample=[_ANN], ends_at=ends_at)
    (one,) = found["expiring"]
    assert one["lost_mc"] == pytest.approx(expected_mc / 2, rel=0.01)
    assert _kinds(found) == ["expiring"]
    assert "would be left unused" in found["warnings"][0]["text"]


async def test_an_action_that_can_not_be_called_is_told(served: Served) -> None:
    found = await _estimate(served, sample=[{"customer": {}}])
    assert found["cost"]["expected_mc"] == 0
    assert _kinds(found) == ["no_calls"]


@pytest.mark.parametrize(
    "body, field",
    [
        ({"people": None}, "actions.0.people"),
        ({"people": 0}, "people"),
        ({"people": 1, "sample": [_ANN, _ANN]}, "actions.0.people"),
        ({"actions": []}, "actions"),
        ({"actions": [{"action": "route"}] * 51}, "actions"),
        ({"sample": [_ANN] * 1_001}, "sample"),
        ({"ends_at": "tomorrow"}, "ends_at"),
        ({"actions": [{"draft": {"id": "x"}}]}, "actions.0.draft.model"),
    ],
)
async def test_a_wrong_body_names_the_field(
    served: Served, body: dict[str, Any], field: str
) -> None:
    assert (await _estimate(served, 422, **body))["errors"][0]["field"] == field


async def test_law_15_a_launch_check_counts_ten_thousand_prompts_at_most(served: Served) -> None:
    actions = [{"action": "route"}] * 11
    found = await _estimate(served, 422, actions=actions, sample=[_ANN] * 1_000)
    assert "11,000 people, 10,000 are allowed" in found["detail"]


async def test_an_unknown_account_or_action_is_not_found(served: Served) -> None:
    found = await _estimate(served, 404, account_id="nobody")
    assert found["type"].endswith(":account_not_found")
    found = await _estimate(served, 404, actions=[{"action": "nope"}])
    assert found["type"].endswith(":action_not_found")


async def test_estimating_takes_the_scope_of_previews(served: Served) -> None:
    client = await served.client(Scope.EXECUTE)
    body = {"actions": [{"action": "route"}], "people": 5}
    assert (await client.post("/v1/estimates", json=body)).status_code == 403
    await client.aclose()


async def test_a_campaign_begins_with_the_configured_cap(served: Served) -> None:
    account_id = await _account(served, (10**9, None))
    body = {
        "execution_id": "journey-1:route:1",
        "account_id": account_id,
        "workspace_id": "retail",
        "campaign_id": "spring",
        "person_id": "ann",
        "action": "greet",
        "data": {},
    }
    answer = (await served.operator.post("/v1/executions", json=body)).json()
    (status,) = await served.service.ledger.accounts.caps(account_id)
    assert (status.cap, status.limit_mc) == (Cap("total", campaign_id="spring"), 1_000)
    assert answer["origins"]["intent"]["reason"] == "cap_reached"
