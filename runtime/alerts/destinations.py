"""Destinations and contacts: where the messages of an account, or of the operator, are sent."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pricing.errors import CreditgateError
from runtime.alerts.events import Event, Message
from runtime.config.alerts import OperatorSection
from runtime.store.reopening import Store
from runtime.store.schema import account_settings, destinations

MOST_DESTINATIONS = 50
"""The most destinations of one account, and of the operator."""
MOST_CONTACTS = 20
CONTACTS = "contacts"
OPERATOR = "operator"
ALL_EVENTS = "*"


class DestinationRefused(CreditgateError, ValueError):
    """The account has as many destinations as it may have."""


class DestinationUnknown(CreditgateError):
    """There is no such destination."""

    def __init__(self, destination_id: str) -> None:
        super().__init__(f"there is no destination {destination_id!r}")


class ChangedMeanwhile(CreditgateError):
    """Somebody else changed it after the change was decided on."""


@dataclass(frozen=True, slots=True)
class Destination:
    """An address that messages are sent to.

    ``events`` is empty for all of them. ``generation`` counts the rotations of a webhook's secret.
    """

    destination_id: str
    account_id: str | None
    kind: str
    target: str
    events: tuple[str, ...] = ()
    generation: int = 0
    etag: str = ""
    created_ms: int = 0
    rotated_ms: int | None = None
    disabled_ms: int | None = None

    def wants(self, event: Event) -> bool:
        """Return whether it is told of an event."""
        return self.disabled_ms is None and (not self.events or event in self.events)


class Destinations:
    """Destinations and contacts in SQL, and the operator's of the config.

    Raises (all methods):
        StoreUnavailable: the database can't be reached.
    """

    def __init__(self, store: Store, operator: OperatorSection) -> None:
        self._store = store
        self._operator = _of_config(operator)

    async def of_message(
        self, connection: AsyncConnection, message: Message
    ) -> list[Destination] | None:
        """Return where a message goes: to the account's own, else to the operator's.

        Returns:
            Those that want it; ``None`` where there is no destination at all.
        """
        found: list[Destination] = []
        if message.account_id is not None:
            found = await self._of_account(connection, message.account_id)
        if not found:
            rows = await self._rows(connection, None)
            found = [each for each in rows if each.disabled_ms is None] + self._operator
        return [each for each in found if each.wants(message.event)] if found else None

    async def told_of(self, message: Message) -> list[Destination]:
        """Return where a message goes, as ``of_message`` has it."""
        async with self._store.connect() as connection:
            return await self.of_message(connection, message) or []

    async def contacts(self, account_id: str) -> tuple[tuple[str, ...], str]:
        """Return an account's contacts, and their etag; "" before they were ever set."""
        async with self._store.connect() as connection:
            row = await self._contacts_row(connection, account_id)
        return (tuple(json.loads(row.value)), row.etag) if row else ((), "")

    async def set_contacts(self, account_id: str, emails: Sequence[str], etag: str) -> str:
        """Replace an account's contacts; return the new etag.

        Raises:
            ChangedMeanwhile: their etag is another one.
        """
        new = secrets.token_urlsafe(16)
        values = {"value": json.dumps(list(emails)), "etag": new, "updated_ms": _now_ms()}
        named = {"account_id": account_id, "name": CONTACTS}
        async with self._store.begin() as connection:
            row = await self._contacts_row(connection, account_id)
            if (row.etag if row else "") != etag:
                raise ChangedMeanwhile("the contacts were changed meanwhile")
            if row is None:
                await connection.execute(insert(account_settings).values(**named, **values))
                return new
            change = update(account_settings).filter_by(**named, etag=etag).values(**values)
            if (await connection.execute(change)).rowcount != 1:
                raise ChangedMeanwhile("the contacts were changed meanwhile")
        return new

    async def listed(self, account_id: str | None) -> list[Destination]:
        """Return the destinations of an account, or the operator's, the oldest first."""
        async with self._store.connect() as connection:
            return await self._rows(connection, account_id)

    async def find(self, destination_id: str) -> Destination:
        """Return a destination.

        Raises:
            DestinationUnknown: there is none.
        """
        async with self._store.connect() as connection:
            query = select(destinations).where(destinations.c.destination_id == destination_id)
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise DestinationUnknown(destination_id)
        return _destination(row)

    async def add(
        self,
        account_id: str | None,
        kind: str,
        target: str,
        events: Collection[str],
        *,
        enabled: bool = True,
    ) -> Destination:
        """Make a destination.

        Raises:
            DestinationRefused: there are as many as there may be.
        """
        made = Destination(
            "d" + secrets.token_hex(10),
            account_id,
            kind,
            target,
            tuple(dict.fromkeys(events)),
            etag=secrets.token_urlsafe(16),
            created_ms=_now_ms(),
            disabled_ms=None if enabled else _now_ms(),
        )
        async with self._store.begin() as connection:
            if len(await self._rows(connection, account_id)) >= MOST_DESTINATIONS:
                raise DestinationRefused(
                    f"there are {MOST_DESTINATIONS} destinations, the most that are allowed: "
                    "remove one first"
                )
            await connection.execute(insert(destinations).values(**_columns(made)))
        return made

    async def change(self, found: Destination, etag: str, **values: Any) -> Destination:
        """Change columns of a destination that was just found; return it as it is then.

        Raises:
            ChangedMeanwhile: its etag is another one.
        """
        values["etag"] = secrets.token_urlsafe(16)
        query = update(destinations).filter_by(destination_id=found.destination_id, etag=etag)
        async with self._store.begin() as connection:
            if (await connection.execute(query.values(**values))).rowcount != 1:
                raise ChangedMeanwhile("the destination was changed meanwhile")
        return await self.find(found.destination_id)

    async def rotate(self, found: Destination) -> Destination:
        """Give a webhook the next secret; the one before signs for a day more.

        Raises:
            ChangedMeanwhile: somebody else changes it at the same time.
        """
        return await self.change(
            found, found.etag, generation=found.generation + 1, rotated_ms=_now_ms()
        )

    async def disable(self, destination_id: str) -> None:
        """Switch a destination off whose receiver said that it wants no more."""
        values = {"disabled_ms": _now_ms(), "etag": secrets.token_urlsafe(16)}
        query = update(destinations).filter_by(destination_id=destination_id).values(**values)
        async with self._store.begin() as connection:
            await connection.execute(query)

    async def remove(self, destination_id: str) -> None:
        """Remove a destination. What waits for it is not sent any more."""
        async with self._store.begin() as connection:
            await connection.execute(delete(destinations).filter_by(destination_id=destination_id))

    async def _of_account(self, connection: AsyncConnection, account_id: str) -> list[Destination]:
        row = await self._contacts_row(connection, account_id)
        emails = json.loads(row.value) if row else []
        own = [_of_email("c", account_id, email) for email in emails]
        return own + [
            each for each in await self._rows(connection, account_id) if each.disabled_ms is None
        ]

    async def _contacts_row(self, connection: AsyncConnection, account_id: str) -> Row[Any] | None:
        query = select(account_settings).filter_by(account_id=account_id, name=CONTACTS)
        return (await connection.execute(query)).one_or_none()

    async def _rows(self, connection: AsyncConnection, account_id: str | None) -> list[Destination]:
        query = (
            select(destinations)
            .where(destinations.c.account_id.is_not_distinct_from(account_id))
            .order_by(destinations.c.created_ms, destinations.c.destination_id)
        )
        return [_destination(row) for row in await connection.execute(query)]


def _of_config(operator: OperatorSection) -> list[Destination]:
    found = [_of_email("o", None, email) for email in operator.emails]
    if operator.webhook is not None:
        found.append(Destination(OPERATOR, None, "webhook", operator.webhook))
    return found


def _of_email(letter: str, account_id: str | None, email: str) -> Destination:
    digest = hashlib.sha256(f"{account_id}\0{email}".encode()).hexdigest()
    return Destination(f"{letter}{digest[:21]}", account_id, "email", email)


def _destination(row: Row[Any]) -> Destination:
    values = row._asdict()
    events = values.pop("events")
    return Destination(events=() if events == ALL_EVENTS else tuple(events.split()), **values)


def events_text(events: Collection[str]) -> str:
    """Return events as they are stored."""
    return " ".join(events) or ALL_EVENTS


def _columns(made: Destination) -> dict[str, Any]:
    names = [column.name for column in destinations.columns]
    return {name: getattr(made, name) for name in names} | {"events": events_text(made.events)}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
