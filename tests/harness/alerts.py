"""Alerts on real parts, all on loopback: Redis, SQLite, a mail server, a receiver of webhooks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import delete, update
from standardwebhooks import Webhook

from pricing.offers import GrantKind
from runtime.alerts.alerts import Alerts
from runtime.alerts.deliveries import Delivery
from runtime.archive.opening import open_archive
from runtime.config import Config
from runtime.credits.installation_key import identity_of
from runtime.credits.ledger import CreditLedger
from runtime.ledger_opening import connected, open_ledger
from runtime.redis.primaries import Client
from runtime.store.reopening import Store
from runtime.store.schema import deliveries
from tests.harness.workbench import Change, make_config

SENDER = "credits@example.com"


@dataclass
class Mailbox:
    """A mail server, and what it took. ``refuses`` is its answer to every address."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    refuses: str = ""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuses:
            return self.refuses
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        mail = message_from_bytes(cast("bytes", envelope.content), policy=default)
        self.mails.append(mail)
        return "250 OK"


@asynccontextmanager
async def open_mailbox() -> AsyncIterator[Mailbox]:
    """A mail server on a free port of loopback."""
    box = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(box, hostname="localhost", loop=loop), "127.0.0.1", 0
    )
    async with server:
        box.port = server.sockets[0].getsockname()[1]
        yield box


@dataclass
class Receiver:
    """A receiver of webhooks, and what came. ``answers`` are statuses, then 200."""

    port: int = 0
    posts: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    hangs: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.posts.append((request.path, dict(request.headers), await request.text()))
        if self.hangs is not None and request.path == "/slow":
            await self.hangs.wait()
        status = self.answers.pop(0) if self.answers else 200
        headers = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)

    def at(self, path: str) -> list[tuple[str, dict[str, str], str]]:
        """What came at a path that begins so."""
        return [post for post in self.posts if post[0].startswith(path)]

    def verified(self, secret: str, path: str = "/") -> list[dict[str, Any]]:
        """What came there, each verified with this secret by the convention's own library."""
        return [json.loads(json.dumps(Webhook(secret).verify(b, h))) for _, h, b in self.at(path)]


@asynccontextmanager
async def open_receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port of loopback."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()


@dataclass
class AlertBench:
    """The alerts of one process, whose rounds the test makes."""

    config: Config
    client: Client
    ledger: CreditLedger
    store: Store
    alerts: Alerts
    mailbox: Mailbox
    receiver: Receiver
    account: str = "acme"
    """Whose alerts they are; each test that shares a bench has one of its own."""

    async def begin(self, account_id: str) -> None:
        """Forget what other tests did."""
        self.account = account_id
        self.mailbox.mails.clear()
        self.mailbox.refuses = ""
        self.receiver.posts.clear()
        self.receiver.answers, self.receiver.hangs = [], None
        async with self.store.begin() as connection:
            await connection.execute(delete(deliveries))

    async def make_due(self) -> None:
        """What waits is due now."""
        async with self.store.begin() as connection:
            due = update(deliveries).filter_by(state="waiting").values(next_ms=0)
            await connection.execute(due)

    async def open_account(self, *amounts_mc: int) -> None:
        account_id, accounts = self.account, self.ledger.accounts
        await accounts.open_account(account_id, plan="growth", timezone="Europe/Berlin")
        for number, amount_mc in enumerate(amounts_mc):
            await accounts.grant(
                account_id,
                amount_mc=amount_mc,
                kind=GrantKind.PURCHASED,
                reference=f"g-{number}",
            )

    async def void(self, grant_id: str = "g1") -> None:
        await self.ledger.accounts.void(
            self.account, grant_id, reference=f"void {grant_id}", reason="a test"
        )

    async def contacts(self, *emails: str) -> None:
        destinations = self.alerts.destinations
        _, etag = await destinations.contacts(self.account)
        await destinations.set_contacts(self.account, emails, etag)

    async def send(self) -> None:
        """One round of sending, to its end."""
        await self.alerts.delivering.run_once()
        await self.alerts.delivering.drain()

    async def deliver(self) -> int:
        """Take what was raised, and send it."""
        taken = await self.alerts.reader.run_once()
        await self.send()
        return taken

    async def listed(self) -> list[Delivery]:
        found, _ = await self.alerts.deliveries.listed(self.account)
        return found


@asynccontextmanager
async def open_alert_bench(
    data_dir: Path, redis_url: str, key_prefix: str, change: Change = lambda config: None
) -> AsyncIterator[AlertBench]:
    """Open alerts that may call loopback, with 20% and cap marks as configured by default."""
    async with AsyncExitStack() as stack:
        mailbox = await stack.enter_async_context(open_mailbox())
        receiver = await stack.enter_async_context(open_receiver())

        def changed(config: dict[str, Any]) -> None:
            config["alerts"] = {
                "cooldown_minutes": 0,
                "buy_url": "https://app.example.com/billing",
                "webhooks": {"allowed_networks": ["127.0.0.0/8"], "plain_http": True},
            }
            config["email"] = {
                "host": "127.0.0.1",
                "port": mailbox.port,
                "tls": "none",
                "sender": SENDER,
            }
            change(config)

        config = make_config(
            data_dir, redis_url, key_prefix, "http://127.0.0.1:1/v1", change=changed
        )
        client = await stack.enter_async_context(connected(config, None))
        ledger = await stack.enter_async_context(open_ledger(config, redis=client))
        key_check = identity_of(config).check_value()
        store = Store(lambda: open_archive(config, key_check))
        stack.push_async_callback(store.aclose)
        alerts = Alerts(config, client, ledger, store)
        stack.push_async_callback(alerts.aclose)
        yield AlertBench(config, client, ledger, store, alerts, mailbox, receiver)
