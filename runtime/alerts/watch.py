"""Looks once an hour for what no script notices: what expires or runs out soon, models, rates."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import delete, select

from pricing.rate_card import Rates, TokenRates
from runtime.alerts.deliveries import Deliveries
from runtime.alerts.events import Event, Message, instant_text
from runtime.alerts.outlooks import Outlooks
from runtime.archive.writing import insert
from runtime.background import Periodic
from runtime.config import Config
from runtime.config.succession import called_on
from runtime.credits.accounts import Accounts
from runtime.credits.results import Balance, LedgerError, LedgerUnavailable
from runtime.credits.script_client import plain_commands
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.store.database import StoreError
from runtime.store.reopening import Store
from runtime.store.schema import account_settings, accounts, dimensions, totals
from runtime.wording import alerts as wording

_log = logging.getLogger("creditgate.alerts")

LOOK_EVERY_S = 3_600.0
_FIRST_AFTER_S = 30.0
_SPREAD = 0.1
_DAY_MS = 86_400_000
_QUARTER_MS = 900_000
_PAGE = 500
_USED_WITHIN_DAYS = 30
_FORECAST_TOLD = "forecast_told"
# So far beyond the days of the config a forecast must be until it may be told again.
_REARMED_AT = 1.5


class AlertWatch:
    """Rounds over all accounts that the archive knows; one process at a time makes one.

    Each grant that expires, each model that retires and each change of rates is told once. A
    forecast is told once, and again after the day had moved further away.
    """

    def __init__(
        self,
        *,
        config: Config,
        client: Client,
        ledger: Accounts,
        store: Store,
        outlooks: Outlooks,
        deliveries: Deliveries,
        buy_url: str,
    ) -> None:
        self.config = config
        """Set another one where a reload changes models or rates."""
        self._settings = config.alerts
        self._client = client
        self._key = Keys(config.redis.key_prefix).watching()
        self._ledger = ledger
        self._store = store
        self._outlooks = outlooks
        self._deliveries = deliveries
        self._buy_url = buy_url
        self._rounds = Periodic("looking ahead", self._round, LOOK_EVERY_S, spread=_SPREAD)

    def start(self) -> None:
        """Look until ``aclose``."""
        self._rounds.start(after_s=_FIRST_AFTER_S)

    async def aclose(self) -> None:
        """Stop looking."""
        await self._rounds.aclose()

    async def run_once(self) -> None:
        """Look at every account, at the models and at the rates.

        Raises:
            LedgerUnavailable, StoreUnavailable: Redis or the database can't be reached.
        """
        await self._deliveries.add(await self._of_models())
        await self._deliveries.add(await self._of_rates())
        async for account_id in self._accounts():
            await self._look_at(account_id)
        await self._deliveries.forget_old()

    async def _round(self) -> None:
        try:
            async with plain_commands(self.config.redis.timeout_ms / 1000):
                lock_ms = int(LOOK_EVERY_S * 800)
                if not await self._client.set(self._key, "1", nx=True, px=lock_ms):
                    return
            await self.run_once()
        except (LedgerUnavailable, StoreError) as exc:
            _log.warning("nobody looked ahead this time: %s", exc)

    async def _accounts(self) -> AsyncIterator[str]:
        behind = ""
        while True:
            query = select(accounts.c.account_id).where(accounts.c.account_id > behind)
            query = query.order_by(accounts.c.account_id).limit(_PAGE)
            async with self._store.connect() as connection:
                found = [row.account_id for row in await connection.execute(query)]
            for account_id in found:
                yield account_id
            if len(found) < _PAGE:
                return
            behind = found[-1]

    async def _look_at(self, account_id: str) -> None:
        try:
            balance = await self._ledger.balance(account_id)
        except LedgerUnavailable:
            raise
        except LedgerError:
            return  # archived, and no longer there
        if balance.state != "open" or not balance.available_mc + balance.reserved_mc:
            return
        outlook = await self._outlooks.of(balance)
        if expiring := self._expiring(balance, outlook):
            await self._deliveries.add(expiring)
        await self._look_at_forecast(account_id, outlook)

    def _expiring(self, balance: Balance, outlook: wording.Outlook) -> list[Message]:
        account_id = balance.account_id
        until_ms = balance.at_ms + self._settings.expiring_days * _DAY_MS
        found = []
        for grant in balance.grants:
            amount_mc = grant.available_mc + grant.reserved_mc
            expires_ms = grant.expires_at_ms
            if not amount_mc or expires_ms is None or not balance.at_ms < expires_ms < until_ms:
                continue
            subject, paragraphs = wording.expiring_text(
                account_id, grant.kind, amount_mc, expires_ms, outlook, self._buy_url
            )
            details = {
                "grant_id": grant.grant_id,
                "amount_mc": amount_mc,
                "expires_at": instant_text(expires_ms),
            }
            found.append(
                Message(
                    event=Event.EXPIRING,
                    account_id=account_id,
                    once_key=f"expiring {account_id} {grant.grant_id} {grant.created_at_ms}",
                    at_ms=balance.at_ms,
                    subject=subject,
                    paragraphs=paragraphs,
                    details=details,
                )
            )
        return found

    async def _look_at_forecast(self, account_id: str, outlook: wording.Outlook) -> None:
        days = self._settings.forecast_days
        if not days:
            return
        runs_out_ms = outlook.runs_out_ms
        ahead_ms = None if runs_out_ms is None else runs_out_ms - _now_ms()
        named = {"account_id": account_id, "name": _FORECAST_TOLD}
        if ahead_ms is None or ahead_ms > days * _DAY_MS * _REARMED_AT:
            async with self._store.begin() as connection:
                await connection.execute(delete(account_settings).filter_by(**named))
        if runs_out_ms is None or ahead_ms is None or ahead_ms > days * _DAY_MS:
            return
        subject, paragraphs = wording.forecast_text(account_id, outlook, self._buy_url)
        now_ms = _now_ms()
        message = Message(
            event=Event.FORECAST,
            account_id=account_id,
            once_key=f"forecast {account_id} {now_ms}",
            at_ms=now_ms,
            subject=subject,
            paragraphs=paragraphs,
            details={
                "left_mc": outlook.left_mc,
                "per_day_mc": outlook.per_day_mc,
                "runs_out_at": instant_text(runs_out_ms),
            },
        )
        row = {**named, "value": str(runs_out_ms), "etag": "", "updated_ms": now_ms}
        database = await self._store.database()
        telling = insert(database, account_settings).on_conflict_do_nothing().values(**row)
        async with self._store.begin() as connection:
            if (await connection.execute(telling)).rowcount:
                await self._deliveries.add_within(connection, [message])

    async def _of_models(self) -> list[Message]:
        today = datetime.now(UTC).date()
        found = []
        for model_id, model in self.config.models.items():
            day = model.retires_on
            if day is None or not today <= day < today + timedelta(self._settings.retiring_days):
                continue
            successor = called_on(day, self.config.models, model_id)
            text = wording.retiring_text(model_id, day, successor)
            details = {"model": model_id, "retires_on": day.isoformat(), "replaced_by": successor}
            found += await self._to_users(
                Event.RETIRING, model_id, f"retiring {model_id} {day}", text, details
            )
        return found

    async def _of_rates(self) -> list[Message]:
        cards, now = self.config.build_rate_cards(), datetime.now(UTC)
        before = cards.at(now)
        found = []
        for card in cards.after(now):
            near = card.effective_from < now + timedelta(self._settings.retiring_days)
            for model_id, rates in card.rates.items():
                known = before.rates.get(model_id) if before else None
                changes = _changes(known, rates) if known and near else []
                if changes:
                    day: date = card.effective_from.date()
                    text = wording.rates_text(model_id, day, changes)
                    details = {"model": model_id, "effective_from": day.isoformat()}
                    key = f"rates {model_id} {card.version}"
                    found += await self._to_users(Event.RATES, model_id, key, text, details)
            before = card
        return found

    async def _to_users(
        self,
        event: Event,
        model_id: str,
        once_key: str,
        text: wording.Text,
        details: Mapping[str, str | None],
    ) -> list[Message]:
        """Return messages for the operator and for the accounts that used a model lately."""
        subject, paragraphs = text
        told: Sequence[str | None] = (None, *await self._users_of(model_id))
        return [
            Message(
                event=event,
                account_id=account_id,
                once_key=f"{once_key} {account_id or ''}",
                at_ms=_now_ms(),
                subject=subject,
                paragraphs=paragraphs,
                details=details,
            )
            for account_id in told
        ]

    async def _users_of(self, model_id: str) -> list[str]:
        since = (_now_ms() - _USED_WITHIN_DAYS * _DAY_MS) // _QUARTER_MS
        query = (
            select(accounts.c.account_id)
            .distinct()
            .join(dimensions, dimensions.c.account == accounts.c.no)
            .join(
                totals,
                (totals.c.account == dimensions.c.account) & (totals.c.dims == dimensions.c.number),
            )
            .where(dimensions.c.model == model_id, totals.c.slot >= since)
        )
        async with self._store.connect() as connection:
            return [row.account_id for row in await connection.execute(query)]


_RATES = {
    "input_mc": "input",
    "output_mc": "output",
    "cached_input_mc": "cached input",
    "cache_write_mc": "cache writes",
    "reasoning_mc": "reasoning",
}


def _changes(before: Rates, after: Rates) -> list[str]:
    """Return how rates differ, in clauses."""
    found = []
    for name, word in _RATES.items():
        old, new = _rate(before, name), _rate(after, name)
        if old != new:
            share = f"{(new - old) / old:+.0%}" if old else "no longer free"
            found.append(f"{word} {share}")
    if not found and before != after:
        found.append("some of its rates")
    return found


def _rate(rates: TokenRates, name: str) -> int:
    value: int = getattr(rates, name)
    return value


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
