"""Breaks the ledger's promises on purpose: changes records in Redis as no script of ours would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import redis
from redis.exceptions import WatchError

from runtime.credits.journal import chain_of

_BOOKS = {"seq": 1, "granted": 4, "available": 5, "reserved": 6, "charged": 7}
_CHAIN = 19
_GRANT = {"amount": 5, "available": 6, "reserved": 7, "charged": 8}
_KIND, _POSTINGS = 2, 5


@dataclass(slots=True)
class Records:
    """The records of an account with one grant, and its last two journal entries."""

    books: list[str]
    grant: list[str]
    last: tuple[bytes, str, str]
    before_last: str

    def move(self, **amounts_mc: int) -> None:
        """Add amounts to parts of the account and of its grant alike."""
        for part, amount_mc in amounts_mc.items():
            for record, columns in ((self.books, _BOOKS), (self.grant, _GRANT)):
                at = (
                    columns["amount"]
                    if part == "granted" and record is self.grant
                    else columns[part]
                )
                record[at] = str(int(record[at]) + amount_mc)

    @property
    def last_charge_mc(self) -> int:
        """The charge of the last entry; 0 where it is no settlement."""
        columns = self.last[1].split("\t")
        if columns[_KIND] != "s":
            return 0
        moved = [posting.split(":") for posting in columns[_POSTINGS].split(",")]
        return sum(int(amount) for _, parts, amount in moved if parts == "rc")


Doctor = Callable[[Records, Any, str], None]


def give_for_nothing(records: Records, pipe: Any, journal: str) -> None:
    """Raise the grant without an entry in the journal."""
    records.move(granted=10**9, available=10**9)


def leak(records: Records, pipe: Any, journal: str) -> None:
    """Set credits aside for nobody."""
    records.move(available=-5_000, reserved=5_000)


def charge_twice(records: Records, pipe: Any, journal: str) -> None:
    """Book the last settlement once more, as a sound entry."""
    _, body, chain = records.last
    records.move(available=-records.last_charge_mc, charged=records.last_charge_mc)
    seq, chain = int(records.books[_BOOKS["seq"]]) + 1, chain_of(chain, body)
    records.books[_BOOKS["seq"]], records.books[_CHAIN] = str(seq), chain
    pipe.xadd(journal, {"e": body, "c": chain}, id=f"0-{seq}")


def drop_settlement(records: Records, pipe: Any, journal: str) -> None:
    """Take the last settlement back, as if it had never been booked."""
    entry_id, _, _ = records.last
    records.move(available=records.last_charge_mc, charged=-records.last_charge_mc)
    seq = int(records.books[_BOOKS["seq"]]) - 1
    records.books[_BOOKS["seq"]], records.books[_CHAIN] = str(seq), records.before_last
    pipe.xdel(journal, entry_id)
    pipe.execute_command("XSETID", journal, f"0-{seq}")


class Doctoring:
    """Waits for an account with a settlement, changes its records once, and remembers whether.

    Args:
        pattern: of the account's key, without its last part.
    """

    def __init__(self, redis_url: str, pattern: str, doctor: Doctor) -> None:
        self.done = False
        self._client: Any = redis.Redis.from_url(redis_url)
        self._pattern = pattern
        self._doctor = doctor
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self.done and not self._ending.is_set():
            for key in self._client.scan_iter(f"{self._pattern}:account"):
                self.done = self.done or self._try(key.decode().removesuffix(":account"))
            time.sleep(0.05)

    def _try(self, base: str) -> bool:
        account, grants, journal = (f"{base}:{part}" for part in ("account", "grants", "journal"))
        with self._client.pipeline() as pipe:
            try:
                pipe.watch(account, grants, journal)
                entries = pipe.xrevrange(journal, count=2)
                grant = pipe.hget(grants, "g1")
                books = pipe.hget(account, "books")
                if len(entries) < 2 or grant is None or b"\ts\t" not in entries[0][1][b"e"]:
                    return False
                (entry_id, last), (_, before) = entries
                records = Records(
                    books.decode().split("\t"),
                    grant.decode().split("\t"),
                    (entry_id, last[b"e"].decode(), last[b"c"].decode()),
                    before[b"c"].decode(),
                )
                if not records.last_charge_mc:
                    return False
                pipe.multi()
                self._doctor(records, pipe, journal)
                pipe.hset(account, "books", "\t".join(records.books))
                pipe.hset(grants, "g1", "\t".join(records.grant))
                pipe.execute()
            except WatchError:
                return False
        return True
