"""Sums of entries, added up as they are archived, so that reports need not read the entries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pricing.offers import windows_around
from runtime.store.schema import accounts

QUARTER_MS = 15 * 60_000
LATENCY_GROWTH = 1.05

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER = timedelta(milliseconds=QUARTER_MS)
_DAY_QUARTERS = 96
_EXECUTION_KINDS = frozenset("srefb")
_TOKEN_COLUMNS = ("input", "cached_input", "cache_write", "output", "reasoning")
SUMS = (
    *("executions", "charged_mc", "overage_mc", "exposure_mc", "free_mc"),
    *(f"{name}_tokens" for name in _TOKEN_COLUMNS),
)
_FIRST_TOKENS = len(SUMS) - len(_TOKEN_COLUMNS)
_BUCKET_OF_GROWTH = 1 / math.log(LATENCY_GROWTH)
_LONGEST_LATENCY_MS = 24 * 3_600_000


class Rollup:
    """The sums of the entries that one transaction archives.

    Example::

        rollup = Rollup()
        rollup.add(account_no, "s", at_ms, effective_ms, dims, body.split("\\t"))
        await rollup.write(connection, is_postgres)
    """

    def __init__(self) -> None:
        self._usage: dict[tuple[int, int, int, str, str], list[int]] = {}
        self._movements: dict[tuple[int, int, str, str], int] = {}
        self._latencies: dict[tuple[int, int, int, int], int] = {}
        self._choices: dict[tuple[int, int, int, int, int], int] = {}
        self._timezones: dict[int, str] = {}

    def add(
        self,
        account_no: int,
        kind: str,
        at_ms: int,
        effective_ms: int,
        dims: int,
        columns: Sequence[str],
        sign: int = 1,
    ) -> None:
        """Add an entry.

        Args:
            kind: its letter.
            columns: its body, split at tabs; empty columns at the end may be missing.
            sign: -1 takes out an entry that was added before.

        Raises:
            ValueError, IndexError: the columns are not those of an entry.
        """
        count = len(columns)
        charged_mc = 0
        if count > 5 and columns[5]:
            charged_mc = self._add_postings(
                account_no, effective_ms // QUARTER_MS, columns[5], sign
            )
        if kind in _EXECUTION_KINDS or charged_mc:
            self._add_usage(account_no, kind, at_ms // QUARTER_MS, dims, columns, charged_mc, sign)
        elif kind == "o":
            self._timezones[account_no] = columns[17].split(";")[2]
        elif kind == "z":
            self._timezones[account_no] = columns[17]

    def _add_postings(self, account_no: int, slot: int, postings: str, sign: int) -> int:
        """Add what moved, and return what of it was charged."""
        movements, charged_mc = self._movements, 0
        for posting in postings.split(","):
            grant_id, parts, text = posting.split(":")
            amount_mc = int(text)
            if parts[1] == "c":
                charged_mc += amount_mc
            elif parts[0] == "c":
                charged_mc -= amount_mc
            if parts[0] == "r":
                parts = "a" + parts[1]
                if parts == "aa":
                    continue
            key = (account_no, slot, grant_id, parts)
            movements[key] = movements.get(key, 0) + sign * amount_mc
        return charged_mc

    def _add_usage(
        self,
        account_no: int,
        kind: str,
        slot: int,
        dims: int,
        columns: Sequence[str],
        charged_mc: int,
        sign: int,
    ) -> None:
        count = len(columns)
        flags = columns[10] if count > 10 else ""
        detail = columns[17] if count > 17 else ""
        key = (account_no, slot, dims, kind, columns[11] if count > 11 else "")
        sums = self._usage.get(key)
        if sums is None:
            sums = self._usage[key] = [0] * len(SUMS)
        if is_an_ending(kind, flags):
            sums[0] += sign
        sums[1] += sign * charged_mc
        if count > 12:
            sums[2] += sign * int(columns[12] or 0)
            if count > 13:
                sums[3] += sign * int(columns[13] or 0)
        if kind != "s":
            return
        if detail:
            free, _, chosen = detail.partition(";")
            sums[4] += sign * int(free or 0)
            for choice in chosen.split(",") if chosen else ():
                output, _, option = choice.partition(".")
                place = (account_no, slot, dims, int(output), int(option))
                self._choices[place] = self._choices.get(place, 0) + sign
        if count > 8 and columns[8]:
            for index, number in enumerate(columns[8].split(","), _FIRST_TOKENS):
                if number:
                    sums[index] += sign * int(number)
        bucket = latency_bucket(columns[6], flags)
        if bucket is not None:
            spot = (account_no, slot, dims, bucket)
            self._latencies[spot] = self._latencies.get(spot, 0) + sign

    def usage(self) -> Iterator[tuple[int, str, str, list[int]]]:
        """Yield dimensions, kind, reason and ``SUMS`` of what was added."""
        for (_, _, dims, kind, reason), sums in self._usage.items():
            yield dims, kind, reason, sums

    def movements(self) -> Iterator[tuple[str, str, int]]:
        """Yield grant, parts and millicredits of what was added."""
        for (_, _, grant_id, parts), amount_mc in self._movements.items():
            yield grant_id, parts, amount_mc

    def latencies(self) -> Iterator[tuple[int, int, int]]:
        """Yield dimensions, bucket and count of what was added."""
        for (_, _, dims, bucket), count in self._latencies.items():
            yield dims, bucket, count

    def choices(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield dimensions, output, option and count of what was added."""
        for (_, _, dims, output, option), count in self._choices.items():
            yield dims, output, option, count

    async def write(self, connection: AsyncConnection, is_postgres: bool) -> None:
        """Add the sums to those in the database, within the transaction of ``connection``.

        The accounts must have their rows.
        """
        timezones = await self._zones_of(connection)
        days: set[tuple[int, int, int]] = set()

        def day_of(account_no: int, slot: int) -> tuple[int, int]:
            day = day_around(slot, timezones.get(account_no) or "UTC")
            days.add((account_no, *day))
            return day

        usage: dict[tuple[Any, ...], list[int]] = {}
        for (account_no, slot, *rest), sums in self._usage.items():
            usage[account_no, 1, slot, *rest] = sums
            start, quarters = day_of(account_no, slot)
            key = (account_no, quarters, start, *rest)
            whole = usage.get(key)
            usage[key] = (
                list(sums) if whole is None else [a + b for a, b in zip(whole, sums, strict=True)]
            )
        latencies, choices = (
            _by_day(counts, day_of) for counts in (self._latencies, self._choices)
        )
        for upsert, rows in (
            (_USAGE, [(*key, *sums) for key, sums in usage.items()]),
            (_MOVEMENTS, [(*key, amount) for key, amount in self._movements.items()]),
            (_LATENCIES, latencies),
            (_CHOICES, choices),
            (_DAYS, days),
        ):
            await upsert.run(connection, is_postgres, rows)

    async def _zones_of(self, connection: AsyncConnection) -> dict[int, str | None]:
        if self._timezones:
            rows = [{"number": no, "zone": zone} for no, zone in sorted(self._timezones.items())]
            await connection.execute(_SET_TIMEZONE, rows)
        touched = {key[0] for key in self._usage}
        if not touched:
            return {}
        query = select(accounts.c.no, accounts.c.timezone).where(accounts.c.no.in_(touched))
        return {row.no: row.timezone for row in await connection.execute(query)}


def is_an_ending(kind: str, flags: str) -> bool:
    """Return whether an entry is counted as an execution that ended.

    An exposure tells of a call that was superfluous, and so does what another attempt superseded.
    """
    return kind in "sfe" or (kind == "r" and "superseded" not in flags)


def latency_bucket(reserved_for: str, flags: str) -> int | None:
    """Return the bucket of a settlement's time since its reservation.

    There is none where the settlement waited in a spool: that time says nothing about the action.
    """
    if not reserved_for or "late" in flags or "orphan" in flags:
        return None
    milliseconds = min(int(reserved_for), _LONGEST_LATENCY_MS)
    return 0 if milliseconds < 1 else math.ceil(math.log(milliseconds) * _BUCKET_OF_GROWTH) + 1


def latency_of(bucket: int) -> float:
    """Return the milliseconds in the middle of a bucket."""
    return 0.0 if bucket == 0 else LATENCY_GROWTH ** (bucket - 1.5)


@lru_cache(maxsize=100_000)
def day_around(slot: int, timezone: str) -> tuple[int, int]:
    """Return the day of a time zone around a quarter of an hour: its first, and how many it has.

    It is a day of UTC where this machine does not know the zone, or days begin between quarters.
    """
    try:
        (begin, end, _), _ = windows_around(_EPOCH + slot * _QUARTER, timezone)
    except ValueError:
        return slot - slot % _DAY_QUARTERS, _DAY_QUARTERS
    start, begins_between = divmod(begin - _EPOCH, _QUARTER)
    after, ends_between = divmod(end - _EPOCH, _QUARTER)
    if begins_between or ends_between:
        return slot - slot % _DAY_QUARTERS, _DAY_QUARTERS
    return start, after - start


def _by_day(counts: dict[Any, int], day_of: Any) -> list[tuple[Any, ...]]:
    by_day: dict[tuple[Any, ...], int] = {}
    for (account_no, slot, *rest), count in counts.items():
        key = (account_no, *day_of(account_no, slot), *rest)
        by_day[key] = by_day.get(key, 0) + count
    return [(*key, count) for key, count in by_day.items()]


class _Upsert:
    """Adds rows to a table: those that are there already grow by the sums of the new ones."""

    def __init__(self, table: str, key: dict[str, str], sums: Sequence[str]) -> None:
        names = [*key, *sums]
        types = [*key.values(), *("bigint" for _ in sums)]
        added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
        conflict = f"DO UPDATE SET {added}" if sums else "DO NOTHING"
        head, tail = (
            f"INSERT INTO {table} ({', '.join(names)})",
            (f"ON CONFLICT ({', '.join(key)}) {conflict}"),
        )
        arrays = ", ".join(f"${i}::{kind}[]" for i, kind in enumerate(types, 1))
        # Names of tables and columns alone are put together here: nothing that a user wrote.
        self._postgres = f"{head} SELECT * FROM unnest({arrays}) {tail}"  # noqa: S608
        self._sqlite = f"{head} VALUES ({', '.join('?' * len(names))}) {tail}"

    async def run(
        self, connection: AsyncConnection, is_postgres: bool, rows: Iterable[tuple[Any, ...]]
    ) -> None:
        # In one order everywhere, so that two archivers can't wait for each other.
        rows = sorted(rows)
        if not rows:
            return
        if is_postgres:
            columns = tuple(list(column) for column in zip(*rows, strict=True))
            await connection.exec_driver_sql(self._postgres, columns)
        else:
            await connection.exec_driver_sql(self._sqlite, rows)


_SET_TIMEZONE = (
    update(accounts).where(accounts.c.no == bindparam("number")).values(timezone=bindparam("zone"))
)
_DAY = {"account": "integer", "slot": "integer", "quarters": "smallint"}
_USAGE = _Upsert(
    "usage",
    {
        "account": "integer",
        "quarters": "smallint",
        "slot": "integer",
        "dims": "integer",
        "kind": "text",
        "reason": "text",
    },
    SUMS,
)
_MOVEMENTS = _Upsert(
    "movements",
    {"account": "integer", "slot": "integer", "grant_id": "text", "parts": "text"},
    ["amount_mc"],
)
_LATENCIES = _Upsert("latencies", {**_DAY, "dims": "integer", "bucket": "smallint"}, ["executions"])
_CHOICES = _Upsert(
    "choices",
    {**_DAY, "dims": "integer", "output": "smallint", "option": "smallint"},
    ["executions"],
)
_DAYS = _Upsert("days", _DAY, [])
