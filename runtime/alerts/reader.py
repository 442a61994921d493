"""Takes alerts from Redis into SQL: what is written there is removed here."""

from __future__ import annotations

import logging

from runtime.alerts.deliveries import Deliveries
from runtime.alerts.events import Event, Message
from runtime.alerts.outlooks import Outlooks
from runtime.alerts.stream import AlertStreams, Raised
from runtime.background import Periodic
from runtime.credits.accounts import Accounts
from runtime.credits.caps import cap_of
from runtime.credits.results import Balance, LedgerError, LedgerUnavailable
from runtime.store.database import StoreError
from runtime.wording import alerts as wording
from runtime.wording.caps import cap_text

_log = logging.getLogger("creditgate.alerts")

READ_EVERY_S = 2.0
_SPREAD = 0.2
_AT_ONCE = 50


class AlertReader:
    """Rounds over the streams of all buckets. Several processes may do so at once.

    An alert is removed from Redis after its deliveries are committed, so none is lost; a second
    process that read it too finds its deliveries there, so none is sent twice.

    Args:
        buy_url: where credits are bought; "" if that is not configured.
    """

    def __init__(
        self,
        streams: AlertStreams,
        accounts: Accounts,
        outlooks: Outlooks,
        deliveries: Deliveries,
        buy_url: str,
        pause_s: float = READ_EVERY_S,
    ) -> None:
        self._streams = streams
        self._accounts = accounts
        self._outlooks = outlooks
        self._deliveries = deliveries
        self._buy_url = buy_url
        self._fault = ""
        self._rounds = Periodic("reading alerts", self._round, pause_s, spread=_SPREAD)

    def start(self) -> None:
        """Read until ``aclose``."""
        self._rounds.start()

    async def aclose(self) -> None:
        """Stop reading. What was not committed stays in Redis."""
        await self._rounds.aclose()

    async def run_once(self) -> int:
        """Take what there is; return how many alerts that was.

        Raises:
            LedgerUnavailable: Redis can't be reached.
            StoreUnavailable: the database can't be reached; the alerts stay in Redis.
        """
        raised, damaged = await self._streams.read()
        if damaged:
            _log.error("%d alerts in Redis can't be read and are removed", len(damaged))
            await self._streams.remove(damaged)
        for first in range(0, len(raised), _AT_ONCE):
            some = raised[first : first + _AT_ONCE]
            await self._deliveries.add([await self._message(each) for each in some])
            await self._streams.remove((each.bucket, each.entry_id) for each in some)
        return len(raised)

    async def _round(self) -> None:
        try:
            await self.run_once()
        except (LedgerUnavailable, StoreError) as exc:
            if str(exc) != self._fault:
                self._fault = str(exc)
                _log.warning("alerts wait in Redis for now: %s", exc)
        else:
            self._fault = ""

    async def _message(self, raised: Raised) -> Message:
        outlook = wording.Outlook(raised.left_mc)
        if raised.mark != "archive_lag" and (balance := await self._balance(raised.account_id)):
            now = await self._outlooks.of(balance)
            outlook = wording.Outlook(raised.left_mc, now.timezone, now.per_day_mc, now.runs_out_ms)
        event, (subject, paragraphs) = self._said(raised, outlook)
        return Message(
            event=event,
            account_id=None if event is Event.ARCHIVE_LAG else raised.account_id,
            once_key=raised.once_key,
            at_ms=raised.at_ms,
            subject=subject,
            paragraphs=paragraphs,
            details=_details(raised, outlook),
        )

    async def _balance(self, account_id: str) -> Balance | None:
        try:
            return await self._accounts.balance(account_id)
        except LedgerUnavailable:
            return None  # it is told without an outlook
        except (LedgerError, ValueError):
            return None

    def _said(self, raised: Raised, outlook: wording.Outlook) -> tuple[Event, wording.Text]:
        account_id, mark = raised.account_id, raised.mark
        if mark == "archive_lag":
            return Event.ARCHIVE_LAG, wording.lag_text(account_id, raised.lag_entries)
        if mark == "exhausted":
            return Event.EXHAUSTED, wording.exhausted_text(account_id, outlook, self._buy_url)
        if raised.cap:
            text = wording.cap_text(
                account_id,
                cap_text(cap_of(raised.cap), raised.limit_mc),
                int(mark[1:]),
                raised.limit_mc,
                raised.charged_mc,
                raised.resets_ms,
                outlook.timezone,
            )
            return Event.CAP, text
        text = wording.low_text(account_id, mark, raised.threshold_mc, outlook, self._buy_url)
        return Event.LOW, text


def _details(raised: Raised, outlook: wording.Outlook) -> dict[str, object]:
    found: dict[str, object] = {"mark": raised.mark, "left_mc": raised.left_mc}
    if raised.mark == "archive_lag":
        return {"archived_account_id": raised.account_id, "lag_entries": raised.lag_entries}
    if raised.cap:
        return found | {
            "cap": str(cap_of(raised.cap)),
            "limit_mc": raised.limit_mc,
            "charged_mc": raised.charged_mc,
        }
    return found | {
        "threshold_mc": raised.threshold_mc,
        "per_day_mc": outlook.per_day_mc,
    }
