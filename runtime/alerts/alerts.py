"""The alerts of a process: read from Redis, looked ahead for, and sent."""

from __future__ import annotations

from runtime.alerts.outlooks import Outlooks
from runtime.alerts.reader import AlertReader
from runtime.alerts.sender import AlertSender
from runtime.alerts.stream import AlertStreams
from runtime.alerts.watch import AlertWatch
from runtime.config import Config
from runtime.credits.ledger import CreditLedger
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.reopening import Store


class Alerts(AlertSender):
    """Takes alerts from Redis, looks ahead, and sends."""

    def __init__(self, config: Config, client: Client, ledger: CreditLedger, store: Store) -> None:
        super().__init__(config, store)
        buy_url = config.alerts.buy_url or ""
        self._outlooks = outlooks = Outlooks(store, config)
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

    def reload(self, config: Config) -> None:
        """Look ahead by other models and rates from now on. Settings of alerts need a restart."""
        self.watch.config = self._outlooks.config = config

    def start(self) -> None:
        """Read, look ahead and send until ``aclose``."""
        self.reader.start()
        self.watch.start()
        super().start()

    async def aclose(self) -> None:
        """Stop. What was read is in SQL, what was not is in Redis: another process goes on."""
        await self.reader.aclose()
        await self.watch.aclose()
        await super().aclose()
