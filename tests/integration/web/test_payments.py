"""Payments over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from runtime.api_keys.keys import Scope
from runtime.credits.results import LedgerUnavailable
from runtime.store.database import StoreUnavailable
from tests.harness.service import Served, open_served
from tests.harness.stripe import SECRET_KEY, WEBHOOK_SECRET, FakeStripe, open_stripe, signed

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {
    "enabled": True,
    "below_mc": 20_000_000,
    "target_mc": 90_000_000,
    "monthly_limit_cents": 10_000,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fake() -> AsyncIterator[FakeStripe]:
    """Stripe."""
    async with open_stripe() as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None,
    redis_server: Any,
    fake: FakeStripe,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Served]:
    """One service for all tests, each of which has accounts of its own."""
    folder: Path = tmp_path_factory.mktemp("payments")
    (folder / "key").write_text(SECRET_KEY)
    (folder / "webhook").write_text(WEBHOOK_SECRET)

    def change(config: dict[str, Any]) -> None:
        config["stripe"] = {
            "secret_key": {"file": str(folder / "key")},
            "webhook_secret": {"file": str(folder / "webhook")},
            "success_url": "https://platform.example/billing?bought",
            "cancel_url": "https://platform.example/billing",
            "api_base": fake.url,
        }

    async with open_served(
        folder / "data", redis_server.url, f"t{folder.name}", change=change
    ) as opened:
        yield opened


async def opened(served: Served, account_id: str) -> httpx.AsyncClient:
    """A client with a key of an account's, which is open."""
    await served.service.ledger.accounts.open_account(account_id, plan="growth")
    return await served.client(Scope.BILLING_READ, Scope.BILLING_WRITE, account_id=account_id)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("urn:creditgate:problem:")


async def deliver(served: Served, event: dict[str, Any] | bytes, **how: Any) -> httpx.Response:
    body, signature = signed(event, **how)
    headers = {
        "Stripe-Signature": signature,
        "Content-Type": "application/json; charset=utf-8",
    }
    async with httpx.AsyncClient(base_url=served.url) as stripes:
        return await stripes.post("/v1/webhooks/stripe", content=body, headers=headers)


def completed(fake: FakeStripe, answer: httpx.Response) -> dict[str, Any]:
    """The event of a checkout that somebody has paid."""
    session_id = answer.json()["checkout_url"].rpartition("/")[2]
    return fake.event("checkout.session.completed", fake.pay(fake.sessions[session_id]))


async def test_a_customer_buys_credits_on_a_page_of_stripes(
    served: Served, fake: FakeStripe
) -> None:
    client = await opened(served, "buyer")
    body = {"packs": 2, "reference": "order-1"}
    answer = await client.post("/v1/accounts/buyer/checkouts", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["state"], found["amount_mc"], found["price_cents"]) == (
        "open",
        200_000_000,
        2_000,
    )
    assert (await client.post("/v1/accounts/buyer/checkouts", json=body)).json() == found
    delivered = await deliver(served, completed(fake, answer))
    assert (delivered.status_code, delivered.json()) == (200, {"result": "done"})

    path = f"/v1/accounts/buyer/payments/{found['payment_id']}"
    paid = (await client.get(path)).json()
    assert (paid["state"], paid["checkout_url"]) == ("credited", None)
    balance = (await client.get("/v1/accounts/buyer/balance")).json()
    assert balance["available_mc"] == 200_000_000
    assert [grant["grant_id"] for grant in balance["grants"]] == [paid["grant_id"]]
    page = (await client.get("/v1/accounts/buyer/payments")).json()
    assert page == {"items": [paid], "next_cursor": None}
    await client.aclose()


async def test_payments_come_in_pages(served: Served) -> None:
    client = await opened(served, "pages")
    for number in range(3):
        body = {"packs": 1, "reference": f"order-{number}"}
        assert (await client.post("/v1/accounts/pages/checkouts", json=body)).status_code == 200
    path = "/v1/accounts/pages/payments"
    first = (await client.get(path, params={"limit": 2})).json()
    rest = (await client.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    found = [each["reference"] for each in first["items"] + rest["items"]]
    assert (sorted(found), rest["next_cursor"]) == (["order-0", "order-1", "order-2"], None)
    wrong = await client.get(path, params={"cursor": "1.x"})
    assert problem(wrong) == (422, "cursor_refused")
    await client.aclose()


async def test_another_accounts_payments_look_like_none(served: Served) -> None:
    mine, other = await opened(served, "mine"), await opened(served, "other")
    body = {"packs": 1, "reference": "order-1"}
    made = (await mine.post("/v1/accounts/mine/checkouts", json=body)).json()
    for answer in (
        await other.get(f"/v1/accounts/mine/payments/{made['payment_id']}"),
        await other.get("/v1/accounts/mine/payments"),
        await other.get("/v1/accounts/mine/top-up"),
        await other.post("/v1/accounts/mine/checkouts", json=body),
    ):
        assert problem(answer) == (404, "account_not_found")
    hidden = await other.get(f"/v1/accounts/other/payments/{made['payment_id']}")
    assert problem(hidden) == (404, "payment_not_found")
    await mine.aclose()
    await other.aclose()


@pytest.mark.parametrize(
    "body, field",
    [
        ({"reference": "a"}, "packs"),
        ({"packs": 0, "reference": "a"}, "packs"),
        ({"packs": 1.5, "reference": "a"}, "packs"),
        ({"packs": "1", "reference": "a"}, "packs"),
        ({"packs": 1, "reference": ""}, "reference"),
        ({"packs": 1, "reference": "a\n"}, "reference"),
        ({"packs": 1, "reference": "a", "amount_cents": 1}, "amount_cents"),
    ],
)
async def test_a_wrong_checkout_is_refused_by_its_field(
    served: Served, fake: FakeStripe, body: Any, field: str
) -> None:
    before = len(fake.sessions)
    answer = await served.operator.post("/v1/accounts/wrong/checkouts", json=body)
    assert problem(answer) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert len(fake.sessions) == before


async def test_an_account_that_may_not_be_given_credits_is_told_before_payment(
    served: Served, fake: FakeStripe
) -> None:
    before = len(fake.sessions)
    await served.service.ledger.accounts.open_account("on-trial", plan="trial")
    body = {"packs": 1, "reference": "order-1"}
    refused = await served.operator.post("/v1/accounts/on-trial/checkouts", json=body)
    assert problem(refused) == (409, "grant_refused")
    unknown = await served.operator.post("/v1/accounts/nobody/checkouts", json=body)
    assert problem(unknown) == (404, "account_not_found")
    assert len(fake.sessions) == before


async def test_while_stripe_is_away_a_checkout_is_asked_for_again(
    served: Served, fake: FakeStripe
) -> None:
    client = await opened(served, "patient")
    body = {"packs": 1, "reference": "order-1"}
    fake.away = True
    answer = await client.post("/v1/accounts/patient/checkouts", json=body)
    assert problem(answer) == (503, "payments_unavailable")
    assert "Retry-After" in answer.headers
    fake.away = False
    assert (await client.post("/v1/accounts/patient/checkouts", json=body)).status_code == 200
    await client.aclose()


async def test_an_event_is_answered_200_only_when_its_effect_is_stored(
    served: Served, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await opened(served, "lasting")
    body = {"packs": 1, "reference": "order-1"}
    event = completed(fake, await client.post("/v1/accounts/lasting/checkouts", json=body))

    async def no_ledger(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable("away")

    def no_store() -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as away:
        away.setattr(served.service.store, "begin", no_store)
        assert problem(await deliver(served, event)) == (503, "store_unavailable")
    with monkeypatch.context() as away:
        away.setattr(served.service.ledger.accounts, "grant", no_ledger)
        assert problem(await deliver(served, event)) == (503, "ledger_unavailable")
    [waiting] = (await client.get("/v1/accounts/lasting/payments")).json()["items"]
    assert waiting["state"] == "paid"
    assert "ledger" in waiting["fault"]
    assert (await deliver(served, event)).json() == {"result": "done"}
    assert (await deliver(served, event)).json() == {"result": "repeated"}
    [credited] = (await client.get("/v1/accounts/lasting/payments")).json()["items"]
    assert (credited["state"], credited["fault"]) == ("credited", None)
    await client.aclose()


async def test_what_stripe_did_not_sign_is_refused(served: Served, fake: FakeStripe) -> None:
    event = fake.event("checkout.session.completed", {})
    forged = await deliver(served, event, secret="whsec_of_somebody_else")
    assert problem(forged) == (400, "signature_refused")
    assert problem(await deliver(served, event, at_s=1)) == (400, "signature_refused")
    assert problem(await deliver(served, b"[]")) == (400, "event_unreadable")
    unsigned = await served.operator.post("/v1/webhooks/stripe", json=event)
    assert problem(unsigned) == (400, "signature_refused")
    assert WEBHOOK_SECRET not in forged.text


async def test_top_ups_are_set_by_whoever_read_them_last(served: Served) -> None:
    client = await opened(served, "topped")
    path = "/v1/accounts/topped/top-up"
    read = await client.get(path)
    assert (read.json()["enabled"], read.json()["has_payer"]) == (False, False)
    assert problem(await client.put(path, json=SETTINGS)) == (428, "if_match_missing")
    match = {"If-Match": read.headers["ETag"]}
    put = await client.put(path, json=SETTINGS, headers=match)
    assert put.status_code == 200, put.text
    assert {**put.json(), **SETTINGS} == put.json()
    assert (await client.get(path)).headers["ETag"] == put.headers["ETag"]
    for stale in (match["If-Match"], "*", '"x"', "x"):
        answer = await client.put(path, json=SETTINGS, headers={"If-Match": stale})
        assert problem(answer) == (412, "changed_meanwhile")
    await client.aclose()


async def test_only_the_operator_names_who_pays(served: Served) -> None:
    client = await opened(served, "payer")
    path = "/v1/accounts/payer/top-up"
    match = {"If-Match": (await client.get(path)).headers["ETag"]}
    body = {**SETTINGS, "payer": {"customer_id": "cus_1", "method_id": "pm_1"}}
    assert problem(await client.put(path, json=body, headers=match)) == (403, "forbidden")
    put = await served.operator.put(path, json=body, headers=match)
    assert put.json()["has_payer"] is True
    await client.aclose()


@pytest.mark.parametrize(
    "change, field",
    [
        ({"target_mc": 20_000_000}, "target_mc"),
        ({"monthly_limit_cents": 999}, "monthly_limit_cents"),
        ({"below_mc": 0}, "below_mc"),
        ({"enabled": "yes"}, "enabled"),
        ({"payer": {"customer_id": "x", "method_id": "pm_1"}}, "payer.customer_id"),
    ],
)
async def test_wrong_top_ups_are_refused_by_their_field(
    served: Served, change: dict[str, Any], field: str
) -> None:
    answer = await served.operator.put(
        "/v1/accounts/any/top-up", json=SETTINGS | change, headers={"If-Match": '"none"'}
    )
    assert problem(answer) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
