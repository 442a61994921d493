"""Alerts from the script that raised them to a mailbox and a receiver of webhooks."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from runtime.alerts.destinations import OPERATOR
from runtime.alerts.events import Event
from runtime.credits.caps import Cap
from runtime.store.database import StoreUnavailable
from tests.harness.alerts import SENDER, AlertBench

pytestmark = pytest.mark.asyncio(loop_scope="module")


def text_of(mail: Any, kind: str = "plain") -> str:
    text: str = mail.get_body((kind,)).get_content()
    return text.replace("\r\n", "\n")


async def test_a_contact_gets_a_mail_that_says_what_is_left_and_what_happens_at_zero(
    told: AlertBench,
) -> None:
    await told.open_account(10_000_000, 90_000_000)
    await told.contacts("ana@example.com")
    await told.void("g2")

    assert await told.deliver() == 1

    (mail,) = told.mailbox.mails
    assert (mail["From"], mail["To"]) == (SENDER, "ana@example.com")
    assert mail["Subject"] == "10,000 credits left"
    text = text_of(mail)
    assert f"Account {told.account} has 10,000 credits left." in text
    assert "20,000 credits (20% of what the last top-up left)" in text
    assert "fallback values" in text
    assert "https://app.example.com/billing" in text
    html = text_of(mail, "html")
    assert '<a href="https://app.example.com/billing">' in html
    (delivery,) = await told.listed()
    assert (delivery.state, delivery.attempts, delivery.event) == ("delivered", 1, Event.LOW)


async def test_delivered_alerts_are_gone_from_redis_and_are_not_sent_again(
    told: AlertBench,
) -> None:
    await told.open_account(1_000_000)
    await told.contacts("ana@example.com")
    await told.void()
    assert await told.deliver() == 2  # low, and exhausted

    assert await told.deliver() == 0
    assert len(told.mailbox.mails) == 2


async def test_two_processes_that_read_the_same_alert_deliver_it_once(told: AlertBench) -> None:
    await told.open_account(1_000_000)
    await told.contacts("ana@example.com")
    await told.void()

    await asyncio.gather(*(told.alerts.reader.run_once() for _ in range(4)))
    await asyncio.gather(*(told.alerts.delivering.run_once() for _ in range(4)))
    await told.alerts.delivering.drain()

    assert len(await told.listed()) == 2
    assert sorted(mail["Subject"] for mail in told.mailbox.mails) == [
        "0 credits left",
        "Credits are used up",
    ]


async def test_a_webhook_is_signed_by_the_convention(told: AlertBench) -> None:
    await told.open_account(1_000_000)
    made = await told.alerts.destinations.add(
        told.account, "webhook", told.receiver.url, [Event.EXHAUSTED]
    )
    await told.void()
    await told.deliver()

    secret = told.alerts.secrets.secret(made.destination_id, made.generation)
    (body,) = told.receiver.verified(secret)
    assert body["type"] == "credits.exhausted"
    assert body["data"]["account_id"] == told.account
    assert body["data"]["left_mc"] == 0
    assert "used up" in body["data"]["message"]
    with pytest.raises(WebhookVerificationError):
        told.receiver.verified(told.alerts.secrets.secret("another", 0))


async def test_after_a_rotation_both_secrets_verify_for_a_day(told: AlertBench) -> None:
    made = await told.alerts.destinations.add(told.account, "webhook", told.receiver.url, [])
    rotated = await told.alerts.destinations.rotate(made)
    await told.alerts.test(rotated)
    await told.send()

    for generation in (0, 1):
        secret = told.alerts.secrets.secret(made.destination_id, generation)
        assert told.receiver.verified(secret)[0]["type"] == "test"
    day_ago = 86_400_000
    secrets = told.alerts.secrets.in_force(
        made.destination_id, 1, (rotated.rotated_ms or 0) - day_ago
    )
    assert secrets == [told.alerts.secrets.secret(made.destination_id, 1)]


async def test_an_account_without_contacts_is_the_operators(open_alerts: Any) -> None:
    def with_operator(config: dict[str, Any]) -> None:
        config["alerts"]["operator"] = {"emails": ["ops@example.com"]}

    async with open_alerts(change=with_operator) as told:
        await told.open_account(1_000_000)
        await told.void()
        await told.deliver()
        assert {mail["To"] for mail in told.mailbox.mails} == {"ops@example.com"}


async def test_where_nobody_is_there_to_be_told_that_is_shown(told: AlertBench) -> None:
    await told.open_account(1_000_000)
    await told.void()
    await told.deliver()

    found = await told.listed()
    assert {(each.state, each.kind) for each in found} == {("dead", "none")}
    assert "no contact" in found[0].fault


async def test_a_cap_tells_its_window_and_its_limit(told: AlertBench) -> None:
    await told.open_account(10_000_000)
    await told.contacts("ana@example.com")
    cap = Cap("month", workspace_id="retail & more")
    set_cap = told.ledger.accounts.set_cap
    await set_cap(told.account, cap, limit_mc=2_000_000, used_mc=1_000_000, reference="a")
    await set_cap(told.account, cap, limit_mc=1_200_000, reference="b")
    await told.deliver()

    (mail,) = told.mailbox.mails
    assert mail["Subject"].strip().startswith("80% of a cap are used: 1,200 credits a month")
    assert "has used 1,000 credits of 1,200" in text_of(mail)
    assert "starts again on 1 " in text_of(mail)
    assert "retail &amp; more" in text_of(mail, "html")


async def test_while_sql_is_away_alerts_stay_in_redis(
    told: AlertBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told.open_account(1_000_000)
    await told.contacts("ana@example.com")
    await told.void()

    async def away() -> Any:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(told.store, "database", away)
        with pytest.raises(StoreUnavailable):
            await told.alerts.reader.run_once()
        await told.alerts.delivering.run_once()

    assert await told.deliver() == 2
    assert len(told.mailbox.mails) == 2


async def test_while_the_mail_server_is_away_mails_wait_and_go_out_later(told: AlertBench) -> None:
    await told.open_account(1_000_000)
    await told.contacts("ana@example.com")
    told.mailbox.refuses = "450 later"
    await told.void()
    await told.deliver()
    first, second = await told.listed()
    assert {first.state, second.state} == {"waiting"}
    assert "refused the address" in first.fault
    told.mailbox.refuses = ""
    await told.send()
    assert told.mailbox.mails == [], "not before its time"

    await told.make_due()
    await told.send()

    assert len(told.mailbox.mails) == 2


async def test_law_15_retries_go_on_for_three_days_and_then_the_delivery_is_dead_and_can_be_resent(
    told: AlertBench,
) -> None:
    made = await told.alerts.destinations.add(told.account, "webhook", told.receiver.url, [])
    await told.alerts.test(made)
    told.receiver.answers = [500] * 10
    pauses_ms: list[int] = []
    (delivery,) = await told.listed()
    for _ in range(10):
        await told.make_due()
        await told.send()
        (delivery,) = await told.listed()
        pauses_ms.append(delivery.next_ms - time.time_ns() // 1_000_000)
    assert (delivery.state, delivery.attempts, delivery.fault) == ("dead", 10, "status 500")
    assert 60 * 3_600_000 < sum(pauses_ms[:9]) < 90 * 3_600_000
    await told.make_due()
    await told.send()
    assert len(told.receiver.posts) == 10

    await told.alerts.deliveries.resend(delivery)
    await told.send()

    (delivery,) = await told.listed()
    assert delivery.state == "delivered"
    assert {headers["webhook-id"] for _, headers, _ in told.receiver.posts} == {
        delivery.delivery_id
    }


async def test_redirects_are_not_followed(told: AlertBench) -> None:
    made = await told.alerts.destinations.add(told.account, "webhook", told.receiver.url, [])
    await told.alerts.test(made)
    told.receiver.answers = [307]
    await told.send()

    assert [path for path, _, _ in told.receiver.posts] == ["/hook"]
    (delivery,) = await told.listed()
    assert "redirects are not followed" in delivery.fault


async def test_a_receiver_that_is_gone_gets_no_more(told: AlertBench) -> None:
    made = await told.alerts.destinations.add(told.account, "webhook", told.receiver.url, [])
    await told.alerts.test(made)
    told.receiver.answers = [410]
    await told.send()

    (delivery,) = await told.listed()
    assert delivery.state == "dead"
    assert (await told.alerts.destinations.find(made.destination_id)).disabled_ms is not None


async def test_law_15_a_slow_destination_does_not_hold_up_others(told: AlertBench) -> None:
    told.receiver.hangs = asyncio.Event()
    slow = told.receiver.url.replace("/hook", "/slow")
    add = told.alerts.destinations.add
    await told.alerts.test(await add(told.account, "webhook", slow, []))
    quick = await add(told.account, "webhook", told.receiver.url, [])
    await told.alerts.delivering.run_once()
    for _ in range(3):
        await told.alerts.test(quick)
        await told.alerts.delivering.run_once()
        async with asyncio.timeout(5):
            while not any(each.state == "delivered" for each in await told.listed()):  # noqa: ASYNC110 - it is in SQL
                await asyncio.sleep(0.01)
    told.receiver.hangs.set()
    await told.alerts.delivering.drain()
    await told.send()
    assert {each.state for each in await told.listed()} == {"delivered"}


async def test_what_is_removed_gets_nothing_more(told: AlertBench) -> None:
    await told.open_account(1_000_000)
    await told.contacts("ana@example.com")
    made = await told.alerts.destinations.add(told.account, "webhook", told.receiver.url, [])
    await told.void()
    await told.alerts.reader.run_once()
    await told.contacts()
    await told.alerts.destinations.remove(made.destination_id)
    await told.send()

    assert (told.mailbox.mails, told.receiver.posts) == ([], [])
    assert {each.state for each in await told.listed()} == {"dead"}


async def test_a_private_address_is_refused_at_the_connection(open_alerts: Any) -> None:
    def without_exceptions(config: dict[str, Any]) -> None:
        config["alerts"]["webhooks"] = {"plain_http": True}

    async with open_alerts(change=without_exceptions) as told:
        hosts = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]")
        for host in hosts:
            url = told.receiver.url.replace("127.0.0.1", host)
            made = await told.alerts.destinations.add(told.account, "webhook", url, [])
            await told.alerts.test(made)
        await told.send()

        found = await told.listed()
        assert len(found) == len(hosts)
        assert told.receiver.posts == []
        assert all("private address" in each.fault for each in found), [
            each.fault for each in found
        ]


async def test_the_operators_webhook_of_the_config_has_the_secret_of_the_config(
    open_alerts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    monkeypatch.setenv("HOOK_SECRET", secret)
    async with open_alerts() as first:
        url = first.receiver.url

        def with_webhook(config: dict[str, Any]) -> None:
            config["alerts"]["operator"] = {
                "webhook": url,
                "webhook_secret": {"env": "HOOK_SECRET"},
            }

        async with open_alerts(change=with_webhook) as told:
            await told.alerts.tell(
                None, Event.PAYMENT_WAITS, {"subject": "S", "message": "A\n\nB", "n": 1}, "once"
            )
            await told.alerts.tell(None, Event.PAYMENT_WAITS, {"subject": "other"}, "once")
            await told.send()
            (delivery,), _ = await told.alerts.deliveries.listed(None)
            assert delivery.destination_id == OPERATOR
        (body,) = first.receiver.verified(secret)
        assert body["data"] == {"account_id": None, "subject": "S", "message": "A\n\nB", "n": 1}


async def test_no_text_can_begin_another_header(told: AlertBench) -> None:
    await told.contacts("ana@example.com")
    await told.alerts.tell(
        told.account,
        Event.PAYMENT_REVERSED,
        {"subject": "Hello\r\nBcc: eve@example.com\u2028x", "message": "<script>&\r\n.\r\nQUIT"},
        "once",
    )
    await told.send()

    (mail,) = told.mailbox.mails
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Hello Bcc: eve@example.com x"
    assert "&lt;script&gt;&amp;" in text_of(mail, "html")


async def test_an_entry_of_the_stream_that_can_not_be_read_keeps_nobody_from_the_others(
    told: AlertBench,
) -> None:
    await told.open_account(1_000_000)
    await told.contacts("ana@example.com")
    await told.void()
    client: Any = told.client
    for key in await client.keys(f"{told.config.redis.key_prefix}:*:alerts"):
        await client.xadd(key, {"account": told.account, "mark": "p20", "left_mc": "many"})
    other = f"{told.config.redis.key_prefix}:{{b1}}:alerts"
    await client.set(other, "a text")

    await told.deliver()

    assert len(told.mailbox.mails) == 2
    await client.delete(other)


async def test_a_body_holds_all_that_a_mail_says(told: AlertBench) -> None:
    await told.contacts("ana@example.com")
    await told.alerts.tell(
        told.account, Event.PAYMENT_REVERSED, {"subject": "S", "message": "One.\n\nTwo."}, "k"
    )
    await told.send()
    (delivery,) = await told.listed()
    assert json.loads(delivery.body)["data"]["message"] == "One.\n\nTwo."
    assert text_of(told.mailbox.mails[0]).strip() == "One.\n\nTwo."
