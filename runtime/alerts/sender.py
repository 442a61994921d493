"""Writes messages into SQL and sends them: what alerts, payments and the command line share."""

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
from runtime.alerts.secrets import SigningSecrets
from runtime.alerts.webhooks import WebhookSender
from runtime.config import Config
from runtime.credits.installation_key import identity_of
from runtime.store.reopening import Store
from runtime.wording.alerts import sample_text


class AlertSender:
    """Tells accounts and the operator what happens.

    ``destinations`` and ``deliveries`` are what SQL remembers; ``secrets`` sign webhooks;
    ``delivering`` sends what is due.
    """

    def __init__(self, config: Config, store: Store) -> None:
        settings = config.alerts
        self.destinations = Destinations(store, settings.operator)
        self.deliveries = Deliveries(store, self.destinations)
        self.secrets = SigningSecrets(identity_of(config))
        self.delivering = Delivering(
            deliveries=self.deliveries,
            destinations=self.destinations,
            operator=settings.operator,
            secrets=self.secrets,
            email=EmailSender(config.email),
            webhooks=WebhookSender(AllowedAddresses(settings.webhooks.allowed_networks)),
        )

    def start(self) -> None:
        """Send until ``aclose``."""
        self.delivering.start()

    async def aclose(self) -> None:
        """Stop. What was not sent is in SQL: another process goes on."""
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
        return await self.deliveries.add_test(_test_of(destination.account_id), destination)

    async def test_all(self, account_id: str | None) -> list[str]:
        """Send a test wherever alerts of an account, or the operator's, go; return the deliveries.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        message = _test_of(account_id)
        found = await self.destinations.told_of(message)
        return [await self.deliveries.add_test(message, each) for each in found]


def _test_of(account_id: str | None) -> Message:
    where = "the operator" if account_id is None else f"account {account_id}"
    subject, paragraphs = sample_text(where)
    return Message(Event.TEST, account_id, random_key(), _now_ms(), subject, paragraphs)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
