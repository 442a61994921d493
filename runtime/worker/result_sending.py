"""Sends results to the configured webhook, beside the queue and never in its way."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Sequence
from typing import Protocol

from pydantic_core import to_json

from runtime.alerts.addresses import AllowedAddresses
from runtime.alerts.events import instant_text
from runtime.alerts.webhooks import LONGEST_ATTEMPT_S, SendingFailed, WebhookSender
from runtime.background import Periodic, TaskSet
from runtime.config import Config
from runtime.queue.errors import QueueUnavailable
from runtime.queue.outgoing import ResultBatch
from runtime.queue.queue import RequestQueue

_log = logging.getLogger("creditgate.worker")

PAUSES_S = (1.0, 5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0)
"""The pauses after failures; after one more the batch is given up."""

MOST_ACCOUNTS_AT_ONCE = 16
"""In one process. A batch of one account is sent at a time, and no other account waits for it."""

_LOOK_EVERY_S = 0.5
_SEARCH_EVERY_S = 1.0
_REST_S = 30.0
_LEASE_MS = int(LONGEST_ATTEMPT_S * 1000) + 5_000
_BATCHES_IN_A_ROW = 50
_MOST_REMEMBERED = 100_000


class Sends(Protocol):
    """The sender of ``runtime.alerts.webhooks``."""

    async def send(self, url: str, delivery_id: str, body: str, secrets: Sequence[str]) -> None:
        """Post one message. Raises ``SendingFailed``."""

    async def aclose(self) -> None:
        """Close the connections."""


class ResultSending:
    """Sends the results of all accounts, each account's in order, until ``aclose``.

    What fails is sent again with growing pauses, and given up in the end: results stay in the
    results stream as long as that keeps them. Of several processes, one sends each batch.

    Args:
        secret: signs the messages.
        pauses_s: after failures.
    """

    def __init__(
        self,
        queue: RequestQueue,
        sender: Sends,
        url: str,
        secret: str,
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        self._queue = queue
        self._sender = sender
        self._url = url
        self._secret = secret
        self._pauses_s = pauses_s
        self._to_look_at: dict[str, None] = {}
        self._busy: set[str] = set()
        self._cursor = 0
        self._rest_until_s = 0.0
        self._tasks = TaskSet()
        self._rounds = Periodic("sending results", self.run_once, _LOOK_EVERY_S, spread=0.1)
        self._searches = Periodic("looking for results", self._search, _SEARCH_EVERY_S, spread=0.2)

    def start(self) -> None:
        """Send until ``aclose``."""
        self._rounds.start()
        self._searches.start()

    async def aclose(self) -> None:
        """Stop. What was not sent is sent by another process, or by this one's next run."""
        await self._searches.aclose()
        await self._rounds.aclose()
        await self._tasks.cancel()
        await self._sender.aclose()

    def note(self, account_id: str) -> None:
        """Note that an account has a new result."""
        if len(self._to_look_at) < _MOST_REMEMBERED:
            self._to_look_at[account_id] = None

    async def run_once(self) -> None:
        """Begin to send for accounts that have new results, as many at once as may be."""
        for account_id in list(self._to_look_at):
            if len(self._busy) >= MOST_ACCOUNTS_AT_ONCE:
                return
            if account_id not in self._busy:
                del self._to_look_at[account_id]
                self._busy.add(account_id)
                self._tasks.start(self._send_then_free(account_id))

    async def drain(self) -> None:
        """Wait for what is being sent."""
        await self._tasks.drain()

    async def _search(self) -> None:
        """Look at some of all accounts: another process may have died before it sent."""
        if time.monotonic() < self._rest_until_s:
            return
        try:
            self._cursor, accounts = await self._queue.accounts(self._cursor)
        except QueueUnavailable:
            return
        for account_id in accounts:
            self.note(account_id)
        if not self._cursor:
            self._rest_until_s = time.monotonic() + _REST_S

    async def _send_then_free(self, account_id: str) -> None:
        try:
            await self._send_all(account_id)
        except QueueUnavailable as error:
            _log.debug("results of account %s can't be sent now: %s", account_id, error)
            self.note(account_id)
        finally:
            self._busy.discard(account_id)

    async def _send_all(self, account_id: str) -> None:
        for _ in range(_BATCHES_IN_A_ROW):
            batch = await self._queue.outgoing.claim(account_id, _LEASE_MS)
            if batch is None:
                return
            if not await self._send(batch):
                return
        self.note(account_id)

    async def _send(self, batch: ResultBatch) -> bool:
        """Send a batch; return whether the next one may follow."""
        outgoing = self._queue.outgoing
        try:
            if batch.results:
                await self._sender.send(
                    self._url, _delivery_id(batch), _body(batch), [self._secret]
                )
        except SendingFailed as error:
            if error.for_good or batch.tries >= len(self._pauses_s):
                _log.error(
                    "account %s: %d results are not sent, and stay in the results stream: %s",
                    *(batch.account_id, len(batch.results), error),
                )
                await outgoing.sent(batch)
                return True
            pause_s = self._pauses_s[batch.tries]
            pause_s *= random.uniform(0.9, 1.1)  # noqa: S311 - jitter
            _log.warning(
                "account %s: results are sent again in %.0f s: %s",
                *(batch.account_id, pause_s, error),
            )
            await outgoing.failed(batch, int(pause_s * 1000))
            asyncio.get_running_loop().call_later(pause_s, self.note, batch.account_id)
            return False
        await outgoing.sent(batch)
        return True


def _delivery_id(batch: ResultBatch) -> str:
    """Return the id of a batch's delivery, the same in every process and at every try."""
    text = f"results {batch.account_id} {batch.batch_id}"
    return "msg_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _body(batch: ResultBatch) -> str:
    """Return the message: the results of one account, in order."""
    results = [
        {"campaign_id": each.campaign_id, "person_id": each.person_id, "result": each.result}
        for each in batch.results
    ]
    plain = {
        "type": "execution.results",
        "timestamp": instant_text(int(batch.batch_id.partition("-")[0])),
        "data": {"account_id": batch.account_id, "results": results},
    }
    return to_json(plain, inf_nan_mode="constants").decode()


def result_sending(config: Config, queue: RequestQueue) -> ResultSending | None:
    """Return what sends results as a configuration says; ``None`` if it names no webhook."""
    section = config.queue
    if section.webhook is None or section.webhook_secret is None:
        return None
    addresses = AllowedAddresses(config.alerts.webhooks.allowed_networks)
    secret = section.webhook_secret.get_secret_value()
    return ResultSending(queue, WebhookSender(addresses), section.webhook, secret)
