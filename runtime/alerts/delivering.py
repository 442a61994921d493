"""The loop that sends what is due, to each destination beside the others."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence

from runtime.alerts.deliveries import Deliveries, Delivery
from runtime.alerts.destinations import OPERATOR, Destinations, DestinationUnknown
from runtime.alerts.email import EmailSender
from runtime.alerts.secrets import SigningSecrets
from runtime.alerts.webhooks import SendingFailed, WebhookSender
from runtime.background import Periodic, TaskSet
from runtime.config.alerts import OperatorSection
from runtime.store.database import StoreError

_log = logging.getLogger("creditgate.alerts")

LOOK_EVERY_S = 1.0
MOST_DESTINATIONS_AT_ONCE = 64
"""In one process. A destination that is slow keeps one of them busy, and no other waits for it."""

_AT_ONCE_FOR_ONE = 20
_SPREAD = 0.2


class Delivering:
    """Sends what is due. Of several processes, one makes each attempt."""

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        destinations: Destinations,
        operator: OperatorSection,
        secrets: SigningSecrets,
        email: EmailSender,
        webhooks: WebhookSender,
        pause_s: float = LOOK_EVERY_S,
    ) -> None:
        self._deliveries = deliveries
        self._destinations = destinations
        self._operator = operator
        self._secrets = secrets
        self._email = email
        self._webhooks = webhooks
        self._busy: set[str] = set()
        self._tasks = TaskSet()
        self._fault = ""
        self._rounds = Periodic("sending alerts", self.run_once, pause_s, spread=_SPREAD)

    def start(self) -> None:
        """Send until ``aclose``."""
        self._rounds.start()

    async def aclose(self) -> None:
        """Stop. An attempt that is under way is given up, and made again later."""
        await self._rounds.aclose()
        await self._tasks.cancel()
        await self._webhooks.aclose()

    async def run_once(self) -> None:
        """Begin to send to every destination that something is due for."""
        try:
            due = await self._deliveries.due(MOST_DESTINATIONS_AT_ONCE + len(self._busy))
        except StoreError as exc:
            if str(exc) != self._fault:
                self._fault = str(exc)
                _log.warning("no alert is sent for now: %s", exc)
            return
        self._fault = ""
        for destination_id in due:
            if len(self._busy) >= MOST_DESTINATIONS_AT_ONCE:
                return
            if destination_id not in self._busy:
                self._busy.add(destination_id)
                self._tasks.start(self._send_then_free(destination_id))

    async def _send_then_free(self, destination_id: str) -> None:
        try:
            await self._send_due(destination_id)
        finally:
            self._busy.discard(destination_id)

    async def drain(self) -> None:
        """Wait for the attempts that are under way."""
        await self._tasks.drain()

    async def _send_due(self, destination_id: str) -> None:
        try:
            for delivery in await self._deliveries.due_for(destination_id, _AT_ONCE_FOR_ONE):
                if await self._deliveries.claim(delivery):
                    await self._attempt(delivery)
        except StoreError as exc:
            _log.warning("a delivery was cut off, and is made again: %s", exc)

    async def _attempt(self, delivery: Delivery) -> None:
        started_s = time.monotonic()
        try:
            await self._send(delivery)
        except SendingFailed as exc:
            await self._deliveries.failed(delivery, str(exc), for_good=exc.for_good)
            _log.info("delivery %s failed: %s", delivery.delivery_id, exc)
        except StoreError:
            raise  # it is made again when its lease ends
        except Exception as exc:  # noqa: BLE001 - one message must not end the loop for all
            _log.exception("delivery %s failed as nobody expected", delivery.delivery_id)
            await self._deliveries.failed(
                delivery, f"failed as nobody expected: {type(exc).__name__}"
            )
        else:
            await self._deliveries.delivered(delivery)
            took_ms = int((time.monotonic() - started_s) * 1_000)
            _log.info("delivery %s of %s took %d ms", delivery.delivery_id, delivery.event, took_ms)

    async def _send(self, delivery: Delivery) -> None:
        if delivery.kind == "webhook":
            await self._post(delivery)
            return
        data = json.loads(delivery.body)["data"]
        address = await self._address(delivery)
        paragraphs = data["message"].split("\n\n")
        await self._email.send(address, delivery.delivery_id, data["subject"], paragraphs)

    async def _address(self, delivery: Delivery) -> str:
        """Return the address that a mail goes to, if it is still one to be told."""
        if delivery.destination_id.startswith("d"):
            return await self._current(delivery)
        listed: Sequence[str] = self._operator.emails
        if delivery.destination_id.startswith("c"):
            listed, _ = await self._destinations.contacts(delivery.account_id or "")
        if delivery.target not in listed:
            raise SendingFailed("the address is no contact any more", for_good=True)
        return delivery.target

    async def _post(self, delivery: Delivery) -> None:
        if delivery.destination_id == OPERATOR:
            if self._operator.webhook is None or self._operator.webhook_secret is None:
                raise SendingFailed("the config has no such webhook any more", for_good=True)
            url, secrets = (
                self._operator.webhook,
                [self._operator.webhook_secret.get_secret_value()],
            )
        else:
            url = await self._current(delivery)
            found = await self._destinations.find(delivery.destination_id)
            secrets = self._secrets.in_force(
                found.destination_id, found.generation, found.rotated_ms
            )
        try:
            await self._webhooks.send(url, delivery.delivery_id, delivery.body, secrets)
        except SendingFailed as exc:
            if exc.gone and delivery.destination_id != OPERATOR:
                await self._destinations.disable(delivery.destination_id)
            raise

    async def _current(self, delivery: Delivery) -> str:
        """Return where the destination is today."""
        try:
            found = await self._destinations.find(delivery.destination_id)
        except DestinationUnknown:
            raise SendingFailed("the destination was removed", for_good=True) from None
        if found.disabled_ms is not None:
            raise SendingFailed("the destination is switched off", for_good=True)
        return found.target
