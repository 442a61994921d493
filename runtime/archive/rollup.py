"""Sums of entries, added up as they are archived, so that reports need not read the entries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import add
from typing import Any, TypeVar

from sqlalchemy import bindparam, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pricing.offers import windows_around
from runtime.store.schema import SUMS, accounts, dimensions

QUARTER_MS = 15 * 60_000
LATENCY_GROWTH = 1.1

Moves = tuple[list[tuple[str, str, int]], int, int]
"""Grants, parts and millicredits that moved, what of it was charged, and by how much more or less
the account has left."""

_Key = tuple[Any, ...]
_T = TypeVar("_T")
_MOST_AT_ONCE = 10_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER = timedelta(milliseconds=QUARTER_MS)
_DAY_QUARTERS = 96
_POSTINGS = 5
# By the letters of a posting: its parts, where reserved counts as available; whether it charges;
# whether the account then has more left, or less. Nothing moves from reserved to available.
_MOVES = {
    source + target: (
        "" if parts == "aa" else parts,
        (target == "c") - (source == "c"),
        (parts[1] == "a") - (parts[0] == "a"),
    )
    for source in "narcev"
    for target in "arcev"
    for parts in [(source + target).replace("r", "a")]
}
_OTHER_ENDINGS = frozenset("refb")
_FIRST_TOKENS = SUMS.index("input_tokens")
_BUCKET_OF_GROWTH = 1 / math.log(LATENCY_GROWTH)
_LONGEST_LATENCY_MS = 24 * 3_600_000


class Rollup:
    """The sums of the entries that one transaction archives.

    Example::

        rollup = Rollup()
        columns = body.split("\\t")
        rollup.add(account_no, "s", at_ms, effective_ms, dims, columns, moves_of(columns))
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
        moves: Moves,
        sign: int = 1,
    ) -> None:
        """Add an entry.

        Args:
            kind: its letter.
            columns: its body, split at tabs; empty columns at the end may be missing.
            moves: its postings, as ``moves_of`` reads them.
            sign: -1 takes out an entry that was added before.

        Raises:
            ValueError, IndexError: the columns are not those of an entry.
        """
        slot = at_ms // QUARTER_MS
        # Everything is read before anything is added: a damaged entry adds nothing.
        moved, charged_mc, _ = moves
        if kind == "s":
            self._add_settlement(account_no, slot, dims, columns, charged_mc, sign)
        elif kind in _OTHER_ENDINGS or charged_mc:
            count = len(columns)
            reason = columns[11] if count > 11 else ""
            overage_mc = int(columns[12] or 0) if count > 12 else 0
            exposure_mc = int(columns[13] or 0) if count > 13 else 0
            sums = self._sums_of((account_no, slot, dims, kind, reason))
            if _is_an_ending(kind, columns):
                sums[0] += sign
            sums[1] += sign * charged_mc
            sums[2] += sign * overage_mc
            sums[3] += sign * exposure_mc
        elif kind == "o":
            self._timezones[account_no] = columns[17].split(";")[2]
        elif kind == "z":
            self._timezones[account_no] = columns[17]
        if moved:
            movements, effective_slot = self._movements, effective_ms // QUARTER_MS
            for grant_id, parts, amount_mc in moved:
                key = (account_no, effective_slot, grant_id, parts)
                movements[key] = movements.get(key, 0) + sign * amount_mc

    def _add_settlement(
        self,
        account_no: int,
        slot: int,
        dims: int,
        columns: Sequence[str],
        charged_mc: int,
        sign: int,
    ) -> None:
        count = len(columns)
        texts = columns[8].split(",") if count > 8 and columns[8] else ()
        tokens = [int(text or 0) for text in texts[: len(SUMS) - _FIRST_TOKENS]]
        flags = columns[10] if count > 10 else ""
        reason = columns[11] if count > 11 else ""
        overage_mc = int(columns[12] or 0) if count > 12 else 0
        exposure_mc = int(columns[13] or 0) if count > 13 else 0
        free_mc, choices = _detail(columns[17]) if count > 17 and columns[17] else (0, ())
        bucket = _latency_bucket(columns[6], flags) if count > 6 else None
        sums = self._sums_of((account_no, slot, dims, "s", reason))
        sums[0] += sign
        sums[1] += sign * charged_mc
        if overage_mc or exposure_mc or free_mc:
            sums[2] += sign * overage_mc
            sums[3] += sign * exposure_mc
            sums[4] += sign * free_mc
        index = _FIRST_TOKENS
        for number in tokens:
            if number:
                sums[index] += sign * number
            index += 1
        if bucket is not None:
            spot = (account_no, slot, dims, bucket)
            self._latencies[spot] = self._latencies.get(spot, 0) + sign
        for output, option in choices:
            place = (account_no, slot, dims, output, option)
            self._choices[place] = self._choices.get(place, 0) + sign

    def _sums_of(self, key: tuple[int, int, int, str, str]) -> list[int]:
        sums = self._usage.get(key)
        if sums is None:
            sums = self._usage[key] = [0] * len(SUMS)
        return sums

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

        The accounts and the dimensions of what was added must have their rows.
        """
        timezones = await self._zones_of(connection)
        firsts = await self._firsts_of(connection)
        usage: dict[_Key, list[int]] = {}
        totals: dict[_Key, list[int]] = {}
        outcomes: dict[_Key, list[int]] = {}
        days: set[_Key] = set()
        for (account_no, slot, dims, kind, reason), sums in self._usage.items():
            first, quarters = day_around(slot, timezones.get(account_no) or "UTC")
            days.add((account_no, first, quarters))
            usage[account_no, 1, slot, dims, kind, reason] = sums
            _sum_up(usage, (account_no, quarters, first, dims, kind, reason), sums)
            _sum_up(totals, (account_no, quarters, first, dims), sums)
            _sum_up(outcomes, (account_no, quarters, first, kind, reason), sums)
        counted: list[dict[_Key, int]] = []
        for counts in (self._latencies, self._choices):
            by_day: dict[_Key, int] = {}
            for (account_no, slot, dims, *rest), count in counts.items():
                day = day_around(slot, timezones.get(account_no) or "UTC")
                key = (account_no, *day, firsts.get((account_no, dims), dims), *rest)
                by_day[key] = by_day.get(key, 0) + count
            counted.append(by_day)
        latencies, choices = counted
        for upsert, rows in (
            (_USAGE, [(*key, *sums) for key, sums in usage.items()]),
            (_TOTALS, [(*key, *sums) for key, sums in totals.items()]),
            (_OUTCOMES, [(*key, *sums) for key, sums in outcomes.items()]),
            (_DAYS, list(days)),
            (_MOVEMENTS, [(*key, amount_mc) for key, amount_mc in self._movements.items()]),
            (_LATENCIES, [(*key, count) for key, count in latencies.items()]),
            (_CHOICES, [(*key, count) for key, count in choices.items()]),
        ):
            await upsert.run(connection, is_postgres, rows)

    async def _zones_of(self, connection: AsyncConnection) -> dict[int, str | None]:
        if self._timezones:
            rows = [{"number": no, "zone": zone} for no, zone in sorted(self._timezones.items())]
            await connection.execute(_SET_TIMEZONE, rows)
        touched = {key[0] for key in self._usage}
        zones: dict[int, str | None] = {}
        for numbers in _parts(sorted(touched)):
            query = select(accounts.c.no, accounts.c.timezone).where(accounts.c.no.in_(numbers))
            zones |= {row.no: row.timezone for row in await connection.execute(query)}
        return zones

    async def _firsts_of(self, connection: AsyncConnection) -> dict[tuple[int, int], int]:
        """Return the first dimensions with the same action, version and model."""
        touched = {key[:1] + key[2:3] for key in (*self._latencies, *self._choices)}
        same = dimensions.alias()
        named = dimensions.c
        first = (
            select(func.min(same.c.number))
            .where(
                same.c.account == named.account,
                same.c.action == named.action,
                same.c.action_version == named.action_version,
                same.c.model == named.model,
            )
            .scalar_subquery()
        )
        firsts: dict[tuple[int, int], int] = {}
        for pairs in _parts(sorted(touched)):
            query = select(named.account, named.number, first).where(
                tuple_(named.account, named.number).in_(pairs)
            )
            for account_no, number, first_number in await connection.execute(query):
                firsts[account_no, number] = first_number
        return firsts


def moves_of(columns: Sequence[str]) -> Moves:
    """Return what an entry's postings moved.

    Args:
        columns: its body, split at tabs.

    Raises:
        ValueError, KeyError: they are not postings.
    """
    moved, charged_mc, change_mc = [], 0, 0
    if len(columns) > _POSTINGS and columns[_POSTINGS]:
        for posting in columns[_POSTINGS].split(","):
            grant_id, letters, amount = posting.split(":")
            parts, charges, side = _MOVES[letters]
            amount_mc = int(amount)
            if parts:
                moved.append((grant_id, parts, amount_mc))
                charged_mc += charges * amount_mc
                change_mc += side * amount_mc
    return moved, charged_mc, change_mc


def _detail(detail: str) -> tuple[int, list[tuple[int, int]]]:
    """Return what a free settlement would have cost, and outputs with the option chosen."""
    free, _, chosen = detail.partition(";")
    choices = []
    for choice in chosen.split(",") if chosen else ():
        output, _, option = choice.partition(".")
        choices.append((int(output), int(option)))
    return int(free or 0), choices


def _is_an_ending(kind: str, columns: Sequence[str]) -> bool:
    """Return whether an entry that is no settlement is counted as an execution that ended.

    An exposure tells of a call that was superfluous, and so does what another attempt superseded.
    """
    return kind in "fe" or (kind == "r" and (len(columns) < 11 or "superseded" not in columns[10]))


def _latency_bucket(reserved_for: str, flags: str) -> int | None:
    """Return the bucket of a settlement's time since its reservation.

    There is none where the settlement waited in a spool: that time says nothing about the action.
    """
    if not reserved_for or (flags and ("late" in flags or "orphan" in flags)):
        return None
    return _bucket_of(int(reserved_for))


@lru_cache(maxsize=100_000)
def _bucket_of(latency_ms: int) -> int:
    if latency_ms < 1:
        return 0
    return math.ceil(math.log(min(latency_ms, _LONGEST_LATENCY_MS)) * _BUCKET_OF_GROWTH) + 1


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


def _sum_up(groups: dict[_Key, list[int]], key: _Key, sums: list[int]) -> None:
    group = groups.get(key)
    groups[key] = list(sums) if group is None else list(map(add, group, sums))


def _parts(values: list[_T]) -> Iterator[list[_T]]:
    """Yield as many at a time as a statement may have parameters for."""
    for start in range(0, len(values), _MOST_AT_ONCE):
        yield values[start : start + _MOST_AT_ONCE]


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
        self._postgres = f"{head} SELECT * FROM unnest({arrays}) {tail}"  # noqa: S608 - names
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
_TOTALS = _Upsert(
    "totals",
    {"account": "integer", "quarters": "smallint", "slot": "integer", "dims": "integer"},
    SUMS,
)
_OUTCOMES = _Upsert(
    "outcomes",
    {
        "account": "integer",
        "quarters": "smallint",
        "slot": "integer",
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
