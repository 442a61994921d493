"""Payments from the command line."""

from __future__ import annotations

import asyncio
import json

from runtime.archive.opening import open_archive
from runtime.config import load_config
from runtime.ledger_opening import open_ledger
from runtime.payments.opening import open_payments
from runtime.store.reopening import Store
from tests.harness.command_line import Home
from tests.harness.stripe import SECRET_KEY, WEBHOOK_SECRET, FakeStripe, open_stripe


def with_stripe(home: Home, api_base: str) -> None:
    """Let the home's config lead to a fake."""
    home.write("key", SECRET_KEY)
    home.write("webhook", WEBHOOK_SECRET)
    section = {
        "secret_key": {"file": "key"},
        "webhook_secret": {"file": "webhook"},
        "success_url": "https://platform.example/bought",
        "cancel_url": "https://platform.example/",
        "api_base": api_base,
    }
    path = home.folder / "config.yaml"
    path.write_text(f"{path.read_text('utf-8')}\nstripe: {json.dumps(section)}\n", "utf-8")


async def bought(home: Home, fake: FakeStripe) -> str:
    """Pay a checkout whose event never comes; return the payment's id."""
    config = load_config(home.folder / "config.yaml")
    assert config.stripe is not None
    async with open_ledger(config) as ledger:
        store = Store(lambda: open_archive(config, ledger.key_check))
        async with open_payments(
            config.stripe,
            store,
            ledger.accounts,
            config.build_pack(),
            ledger.key_check,
            pause_s=None,
        ) as payments:
            payment = await payments.checkouts.create("acme", packs=2, reference="order-1")
        await store.aclose()
    fake.pay(fake.sessions[payment.session_id or ""])
    return payment.payment_id


async def test_a_payment_whose_event_never_came_is_listed_and_credited(home: Home) -> None:
    assert home.invoke("payments", "list").status == 2, "without Stripe there are none"
    async with open_stripe() as fake:
        with_stripe(home, fake.url)
        await asyncio.to_thread(home.open_account, "acme")
        assert "no payments" in (await asyncio.to_thread(home.invoke, "payments", "list")).stdout
        payment_id = await bought(home, fake)

        listed = (await asyncio.to_thread(home.invoke, "payments", "list")).stdout
        assert [payment_id, "acme", "checkout", "200,000", "$20.00", "open"] == listed.splitlines()[
            1
        ].split()[:6]
        for _ in range(2):
            retried = await asyncio.to_thread(
                home.invoke, "payments", "retry", payment_id, "--json"
            )
            assert retried.json["state"] == "credited", retried.stderr
        shown = await asyncio.to_thread(home.invoke, "payments", "show", payment_id)
        assert "200,000,000" in shown.stdout
        balance = await asyncio.to_thread(home.balance, "acme")
        assert balance.available_mc == 200_000_000

        unknown = await asyncio.to_thread(home.invoke, "payments", "show", "pm0")
        assert (unknown.status, unknown.stderr) == (2, "Error: there is no payment 'pm0'\n")
