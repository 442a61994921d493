"""Contacts, alert marks, destinations and deliveries over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from runtime.api_keys.keys import Scope
from runtime.redis.embedded import EmbeddedRedis
from tests.harness.alerts import Receiver, open_receiver
from tests.harness.service import Served, open_served
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")
OF = f"/v1/accounts/{ACCOUNT}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with open_receiver() as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    def change(config: dict[str, Any]) -> None:
        config["alerts"] = {
            "webhooks": {"allowed_networks": ["127.0.0.0/8"], "plain_http": True},
            "marks": ["30%"],
        }

    folder = tmp_path_factory.mktemp("served")
    async with open_served(folder / "data", redis_server.url, "alerts-web", change) as opened:
        await opened.open_account()
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def admin(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with await served.client(Scope.ADMIN) as client:
        yield client


def kind_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


async def test_contacts_are_replaced_as_they_were_read(admin: httpx.AsyncClient) -> None:
    read = await admin.get(f"{OF}/contacts")
    assert read.json() == {"emails": []}
    without = await admin.put(f"{OF}/contacts", json={"emails": []})
    assert kind_of(without) == (428, "if_match_missing")
    headers = {"If-Match": read.headers["ETag"]}
    body = {"emails": ["ana@example.com", "ana@example.com"]}
    written = await admin.put(f"{OF}/contacts", json=body, headers=headers)
    assert (written.status_code, written.json()) == (200, {"emails": ["ana@example.com"]})
    stale = await admin.put(f"{OF}/contacts", json={"emails": []}, headers=headers)
    assert kind_of(stale) == (412, "changed_meanwhile")
    again = await admin.get(f"{OF}/contacts")
    assert again.json() == {"emails": ["ana@example.com"]}
    assert again.headers["ETag"] == written.headers["ETag"]


@pytest.mark.parametrize(
    "email", ["ana", "ana@", "a@b", "ana@example.com\nBcc: eve@example.com", "ä@example.com", 7]
)
async def test_law_15_what_is_no_address_is_refused(
    admin: httpx.AsyncClient, email: object
) -> None:
    answer = await admin.put(
        f"{OF}/contacts", json={"emails": [email]}, headers={"If-Match": "none"}
    )
    assert kind_of(answer) == (422, "invalid_request")


async def test_alert_marks_of_the_account_take_the_place_of_the_configured_ones(
    admin: httpx.AsyncClient, served: Served
) -> None:
    read = await admin.get(f"{OF}/alert-marks")
    assert read.json() == {"marks": ["30%"], "cap_marks": ["80%", "100%"], "own": False}
    body = {"marks": ["20%", "5000 credits"], "cap_marks": []}
    headers = {"If-Match": read.headers["ETag"]}
    written = await admin.put(f"{OF}/alert-marks", json=body, headers=headers)
    assert written.json() == {**body, "own": True}
    marks = await served.service.ledger.accounts.alert_marks(ACCOUNT)
    assert marks is not None
    assert marks.text == "p20,a5000000"
    stale = await admin.put(f"{OF}/alert-marks", json=body, headers={"If-Match": "other"})
    assert kind_of(stale) == (412, "changed_meanwhile")
    headers = {"If-Match": written.headers["ETag"]}
    gone = await admin.delete(f"{OF}/alert-marks", headers=headers)
    assert gone.json() == read.json()


@pytest.mark.parametrize("mark", ["0%", "100%", "5.5%", "five", "-1", "99999999999999999"])
async def test_what_is_no_mark_is_refused(admin: httpx.AsyncClient, mark: str) -> None:
    body = {"marks": [mark], "cap_marks": []}
    answer = await admin.put(f"{OF}/alert-marks", json=body, headers={"If-Match": "none"})
    assert kind_of(answer) == (422, "invalid_request")


async def test_a_webhook_shows_its_secret_when_it_is_made_and_rotated_and_never_else(
    admin: httpx.AsyncClient, receiver: Receiver
) -> None:
    # Other tests' destinations are told of the same account.
    target = f"{receiver.url}/own"
    body = {"kind": "webhook", "target": target, "events": ["credits.low"]}
    made = await admin.post(f"{OF}/destinations", json=body)
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert secret.startswith("whsec_")
    one = f"{OF}/destinations/{made.json()['destination_id']}"

    read = await admin.get(one)
    assert "secret" not in read.json()
    rotated = await admin.post(f"{one}:rotate")
    assert rotated.json()["secret"] not in ("", secret)
    headers = {"If-Match": read.headers["ETag"]}
    stale = await admin.put(one, json={"target": target}, headers=headers)
    assert kind_of(stale) == (412, "changed_meanwhile")

    told = await admin.post(f"{one}:test")
    assert told.status_code == 202
    async with asyncio.timeout(10):
        while not receiver.at("/hook/own"):  # noqa: ASYNC110 - the service sends by itself
            await asyncio.sleep(0.05)
    assert receiver.verified(rotated.json()["secret"], "/hook/own")[0]["type"] == "test"
    assert receiver.verified(secret, "/hook/own")[0]["type"] == "test"

    assert (await admin.delete(one)).status_code == 204
    assert kind_of(await admin.get(one)) == (404, "destination_not_found")


async def test_a_destination_is_changed_and_switched_off(
    admin: httpx.AsyncClient, receiver: Receiver
) -> None:
    made = await admin.post(
        f"{OF}/destinations", json={"kind": "email", "target": "ops@example.com"}
    )
    assert made.json()["secret"] is None
    one = f"{OF}/destinations/{made.json()['destination_id']}"
    headers = {"If-Match": made.headers["ETag"]}
    body = {"target": "new@example.com", "events": ["test"], "enabled": False}
    changed = await admin.put(one, json=body, headers=headers)
    assert {name: changed.json()[name] for name in body} == body
    wrong = await admin.put(
        one, json={"target": receiver.url}, headers={"If-Match": changed.headers["ETag"]}
    )
    assert kind_of(wrong) == (422, "invalid_request")
    listed = await admin.get(f"{OF}/destinations")
    assert made.json()["destination_id"] in [each["destination_id"] for each in listed.json()]


@pytest.mark.parametrize(
    "target",
    [
        "ftp://hooks.example.com/",
        "https://ana:secret@hooks.example.com/",
        "https://169.254.169.254/latest",
        "https://",
        "https://hooks.example.com/#part",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/" + "a" * 2_000,
    ],
)
async def test_law_15_addresses_that_can_be_no_webhook_are_refused(
    admin: httpx.AsyncClient, target: str
) -> None:
    answer = await admin.post(f"{OF}/destinations", json={"kind": "webhook", "target": target})
    assert kind_of(answer) == (422, "invalid_request")
    assert "secret" not in answer.text


async def test_deliveries_are_listed_page_by_page_and_sent_again(
    admin: httpx.AsyncClient, receiver: Receiver
) -> None:
    made = await admin.post(f"{OF}/destinations", json={"kind": "webhook", "target": receiver.url})
    one = f"{OF}/destinations/{made.json()['destination_id']}"
    ids = {(await admin.post(f"{one}:test")).json()["delivery_id"] for _ in range(3)}
    async with asyncio.timeout(10):
        while True:
            page = (await admin.get(f"{OF}/deliveries?state=delivered&limit=2")).json()
            rest = (
                await admin.get(
                    f"{OF}/deliveries",
                    params={"state": "delivered", "cursor": page["next_cursor"] or "0.x"},
                )
            ).json()
            found = {each["delivery_id"] for each in page["items"] + rest["items"]}
            if ids <= found:
                break
            await asyncio.sleep(0.1)
    assert len(page["items"]) == 2
    (name, *_) = ids
    again = await admin.post(f"{OF}/deliveries/{name}:resend")
    assert (again.status_code, again.json()["state"]) == (202, "waiting")
    wrong = await admin.get(f"{OF}/deliveries?cursor=nonsense")
    assert kind_of(wrong) == (422, "cursor_refused")


async def test_other_accounts_see_nothing(served: Served, admin: httpx.AsyncClient) -> None:
    await served.open_account("other")
    made = await admin.post(
        f"{OF}/destinations", json={"kind": "email", "target": "ops@example.com"}
    )
    destination_id = made.json()["destination_id"]
    async with await served.client(Scope.ADMIN, account_id="other") as other:
        for path in ("contacts", "alert-marks", "destinations", "deliveries"):
            assert kind_of(await other.get(f"{OF}/{path}")) == (404, "account_not_found")
        theirs = await other.get(f"/v1/accounts/other/destinations/{destination_id}")
        assert kind_of(theirs) == (404, "destination_not_found")
        assert (await other.get("/v1/deliveries")).status_code == 403
        assert (await other.get("/v1/destinations")).status_code == 403


async def test_the_operator_has_destinations_and_sees_all_deliveries(served: Served) -> None:
    body = {"kind": "email", "target": "ops@example.com"}
    made = await served.operator.post("/v1/destinations", json=body)
    assert (made.status_code, made.json()["account_id"]) == (201, None)
    one = f"/v1/destinations/{made.json()['destination_id']}"
    told = (await served.operator.post(f"{one}:test")).json()["delivery_id"]
    listed = (await served.operator.get("/v1/deliveries")).json()["items"]
    assert told in [each["delivery_id"] for each in listed]
    assert (await served.operator.delete(one)).status_code == 204
