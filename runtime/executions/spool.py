"""Endings on disk while Redis is away, one file each, replayed when it is back.

A replay is safe to repeat, so several processes can share a folder. Only their owner can read the
files, because outcomes are personal data. A file is deleted once its ending is in the ledger.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from runtime.credits.endings import Ending, NewerFormat, from_json, owes_something, to_json
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import (
    AccountDamaged,
    AccountStopped,
    AccountUnknown,
    ExecutionConflict,
    LedgerUnavailable,
    NotBooked,
)
from runtime.files.bounded import FileTooLarge, read_bounded
from runtime.files.private import make_private_folder

_log = logging.getLogger("creditgate.spool")
DEAD = "dead"
WHY = ".why"
_UNFINISHED_AFTER_S = 600

MOST_FILE_BYTES = 2 * 1024 * 1024
"""Larger files are set aside. An ending with a larger outcome is written without its outcome."""


class _Waits(Exception):
    """An ending that the ledger can't take now, while it can take others.

    ``account_id`` is given where no ending of that account can be taken.
    """

    def __init__(self, why: str, account_id: str | None = None) -> None:
        super().__init__(why)
        self.account_id = account_id


class Why(StrEnum):
    """The reasons for which an ending is dead."""

    TOO_OLD = "older than executions.spool_max_age_hours"
    BEYOND_HORIZON = "older than the horizon of idempotency"
    CONFLICT = "its execution id was used for something else"
    NO_ENDING = "not an ending that this release can read"


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay: endings now in the ledger, set aside as dead, and left."""

    done: int
    dead: int
    left: int


class Spool:
    """A folder of endings.

    Args:
        folder: created with mode 700 when the first ending is put.
        max_age_ms: older endings are given up. It is well below the horizon of idempotency, so
            that what is replayed is still known to be charged or not.
    """

    def __init__(self, folder: Path, max_age_ms: int = 24 * 3_600_000) -> None:
        self.folder = folder
        self._max_age_ms = max_age_ms
        self._told: dict[str, str] = {}
        self._accounts: dict[str, str] = {}

    async def put(self, ending: Ending) -> None:
        """Write an ending to disk and sync it.

        Raises:
            OSError: the ending can't be written.
        """
        await asyncio.to_thread(self._write, ending)

    async def replay(self, ledger: CreditLedger) -> Replay:
        """Send spooled endings, oldest first, until all are sent or Redis is away again.

        An ending that the ledger will never take (too old, in conflict, too large, or not an ending
        at all) moves to ``dead/``. One that can't be taken now (its account is damaged, missing or
        stopped, a newer release wrote it, the file can't be read) stays. Neither holds up the
        others, and each is logged once. Of an account that takes nothing, one ending is sent.
        """
        done = dead = 0
        waiting: dict[str, str] = {}
        accounts: dict[str, str] = {}
        stopped: set[str] = set()
        names = await asyncio.to_thread(self._names)
        for position, name in enumerate(names):
            account_id = self._accounts.get(name)
            if account_id in stopped:
                waiting[name] = self._told.get(name, "")
                accounts[name] = account_id
                continue
            try:
                sent = await self._replay_one(self.folder / name, ledger)
            except FileNotFoundError:
                continue  # another process sharing the folder was faster
            except _Waits as exc:
                waiting[name] = str(exc)
                if exc.account_id is not None:
                    accounts[name] = exc.account_id
                    stopped.add(exc.account_id)
                continue
            except LedgerUnavailable:
                return Replay(done, dead, len(waiting) + len(names) - position)
            done += sent
            dead += not sent
        self._tell(waiting)
        self._accounts = accounts
        return Replay(done, dead, len(waiting))

    async def _replay_one(self, path: Path, ledger: CreditLedger) -> bool:
        """Send one ending; return whether the ledger took it. Otherwise it is dead.

        Raises:
            _Waits: the ledger can't take this ending now.
            LedgerUnavailable: Redis is away.
        """
        why: Why | None = None
        try:
            ending = await asyncio.to_thread(read_ending, path)
            why = await self._end(path.name, ending, ledger)
        except (AccountDamaged, NewerFormat) as exc:
            raise _Waits(f"{type(exc).__name__}: {exc}") from exc
        except (LedgerUnavailable, FileNotFoundError, _Waits):
            raise
        except OSError as exc:
            if not isinstance(exc, FileTooLarge):
                raise _Waits(f"{type(exc).__name__}: {exc}") from exc
            why = Why.NO_ENDING
        except ExecutionConflict:
            why = Why.CONFLICT
        except Exception:  # noqa: BLE001 - one file must not end the replay of the others
            why = Why.NO_ENDING
        if why is not None and path.name not in self._told:
            self._told[path.name] = why
            _log.error("spooled ending %s is dead: %s. See creditgate spool list", path.name, why)
        try:
            self._remove(path, why)
        except OSError as exc:
            raise _Waits(f"can't be removed: {exc}") from exc
        return why is None

    async def _end(self, name: str, ending: Ending, ledger: CreditLedger) -> Why | None:
        """Send an ending; return why the ledger will never take it."""
        if self._too_old(name):
            # By a clock that may be wrong nothing is given up.
            ledger.check_clock(ending.attempt.account_id)
            return Why.TOO_OLD
        try:
            answer = await ledger.end(ending)
        except (AccountUnknown, AccountStopped) as exc:
            if isinstance(exc, AccountUnknown) and not owes_something(ending):
                return None
            raise _Waits(f"{type(exc).__name__}: {exc}", ending.attempt.account_id) from exc
        return Why.BEYOND_HORIZON if isinstance(answer, NotBooked) else None

    def _tell(self, waiting: Mapping[str, str]) -> None:
        """Log why endings wait, once for each file and reason."""
        new = {name: why for name, why in waiting.items() if self._told.get(name) != why}
        self._told = dict(waiting)
        if new:
            name, why = next(iter(new.items()))
            _log.error("%d more spooled endings have to wait, first %s: %s", len(new), name, why)

    def _too_old(self, name: str) -> bool:
        written_ns, _, _ = name.partition("-")
        return written_ns.isdigit() and time.time_ns() - int(written_ns) > (
            self._max_age_ms * 1_000_000
        )

    def waiting(self) -> int:
        """Return the number of endings that wait."""
        return len(self._names())

    def _names(self) -> list[str]:
        self._remove_unfinished()
        return sorted(path.name for path in self.folder.glob("*.json"))

    def _remove_unfinished(self) -> None:
        """Remove unfinished files of dead processes: they hold personal data, but no ending."""
        for path in self.folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _UNFINISHED_AFTER_S:
                    path.unlink()

    def _write(self, ending: Ending) -> None:
        make_private_folder(self.folder)
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        unfinished = self.folder / f"{name}.part"
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(_encoded(ending))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self.folder / f"{name}.json")
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _remove(self, path: Path, why: Why | None) -> None:
        """Delete a file, or move it to the dead ones and note why."""
        if why is None:
            path.unlink(missing_ok=True)
            return
        dead = self.folder / DEAD
        make_private_folder(dead)
        write_private(dead / f"{path.name}{WHY}", why)
        with suppress(FileNotFoundError):
            path.rename(dead / path.name)


def _encoded(ending: Ending) -> str:
    text = json.dumps(to_json(ending))
    if len(text) > MOST_FILE_BYTES:
        # The charge counts more: asked again, the id answers `outcome_lost`.
        text = json.dumps(to_json(replace(ending, outcome=b"")))
    return text


def write_private(path: Path, text: str, *, appended: bool = False) -> None:
    """Write a file that only its owner can read.

    Raises:
        OSError: it can't be written.
    """
    how = os.O_APPEND if appended else os.O_TRUNC
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_ending(path: Path) -> Ending:
    """Return the ending in a file.

    Raises:
        OSError: it can't be read, or is too large.
        NewerFormat: a newer release wrote it.
        KeyError, TypeError, ValueError, RecursionError: it is not an ending.
    """
    return from_json(json.loads(read_bounded(path, MOST_FILE_BYTES)))
