"""The alerts of a process: all parts, opened and closed together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from runtime.alerts.addresses import AllowedAddresses
from runtime.alerts.deliveries import Deliveries, random_key
from runtime.alerts.delivering import Delivering
from runtime.alerts.destinations import Destination, Destinations
from runtime.alerts.email import EmailSender
from runtime.alerts.events import Event, Message
from runtime.alerts.outlooks import Outlooks
from runtime.alerts.reader import AlertReader
from runtime.alerts.secrets import SigningSecrets
from runtime.alerts.stream import AlertStreams
from runtime.alerts.watch import AlertWatch
from runtime.alerts.webhooks import WebhookSender
from runtime.config import Config
from runtime.credits.installation_key import identity_of
from runtime.credits.ledger import CreditLedger
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.reopening import Store
from runtime.wording.alerts import sample_text


class Alerts:
    """Tells accounts and the operator what happens.

    ``destinations`` and ``deliveries`` are what SQL remembers; ``secrets`` sign webhooks.
    """

    def __init__(self, config: Config, client: Client, ledger: CreditLedger, store: Store) -> None:
        settings = config.alerts
        buy_url = settings.buy_url or ""
        self.destinations = Destinations(store, settings.operator)
        self.deliveries = Deliveries(store, self.destinations)
        self.secrets = SigningSecrets(identity_of(config))
        outlooks = Outlooks(store, config)
        self.delivering = Delivering(
            deliveries=self.deliveries,
            destinations=self.destinations,
            operator=settings.operator,
            secrets=self.secrets,
            email=EmailSender(config.email),
            webhooks=WebhookSender(AllowedAddresses(settings.webhooks.allowed_networks)),
        )
        streams = AlertStreams(client, Keys(config.redis.key_prefix), config.redis.timeout_ms)
        self.reader = AlertReader(streams, ledger.accounts, outlooks, self.deliveries, buy_url)
        self.watch = AlertWatch(
            config=config,
            client=client,
            ledger=ledger.accounts,
            store=store,
            outlooks=outlooks,
            deliveries=self.deliveries,
            buy_url=buy_url,
        )

    def start(self) -> None:
        """Read, look ahead and send until ``aclose``."""
        self.reader.start()
        self.watch.start()
        self.delivering.start()

    async def aclose(self) -> None:
        """Stop. What was read is in SQL, what was not is in Redis: another process goes on."""
        await self.reader.aclose()
        await self.watch.aclose()
        await self.delivering.aclose()

    async def tell(
        self, account_id: str | None, event: Event, details: Mapping[str, Any], once_key: str
    ) -> None:
        """Tell an account of an event, or the operator alone.

        Args:
            details: ``subject`` and ``message`` are the sentences; paragraphs of the message are
                separated by empty lines. Everything else is further data for webhooks.
            once_key: names the occurrence; a second call with the same one tells nothing.

        Raises:
            StoreUnavailable: the database can't be reached; nothing was told.
        """
        more = dict(details)
        subject = str(more.pop("subject", event))
        paragraphs = tuple(str(more.pop("message", subject)).split("\n\n"))
        message = Message(event, account_id, once_key, _now_ms(), subject, paragraphs, more)
        await self.deliveries.add([message])

    async def test(self, destination: Destination) -> str:
        """Send a test to a destination; return the id of its delivery.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        where = destination.account_id
        subject, paragraphs = sample_text(f"account {where}" if where else "the operator")
        message = Message(Event.TEST, where, random_key(), _now_ms(), subject, paragraphs)
        return await self.deliveries.add_test(message, destination)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
