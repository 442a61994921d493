"""Endings on disk while Redis is away, one file each, replayed when it is back.

A replay is safe to repeat, so several processes may share a folder. Files are readable by
their owner alone, for outcomes are personal data, and are deleted when they are in the ledger.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.credits.endings import Ending, NewerFormat, from_json, to_json
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import AccountDamaged, ExecutionConflict, LedgerUnavailable
from runtime.private_files import make_private_folder

_log = logging.getLogger("creditgate.spool")
_DEAD = "dead"
_UNFINISHED_AFTER_S = 600


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay: endings now in the ledger, set aside as dead, and left."""

    done: int
    dead: int
    left: int


class Spool:
    """A folder of endings.

    Args:
        folder: created, for its owner alone, when the first ending is put.
        max_age_ms: older endings are given up. It is well below the horizon of idempotency, so
            that what is replayed is still known to be charged or not.
    """

    def __init__(self, folder: Path, max_age_ms: int = 24 * 3_600_000) -> None:
        self._folder = folder
        self._max_age_ms = max_age_ms

    async def put(self, ending: Ending) -> None:
        """Keep an ending; it is on disk, synced, when this returns.

        Raises:
            OSError: the disk refuses.
        NotPrivate: others own the folder or can write to it.
        """
        await asyncio.to_thread(self._write, ending)

    async def replay(self, ledger: CreditLedger) -> Replay:
        """Send what is spooled, oldest first, until Redis is away again.

        An ending that the ledger will never take (too old, in conflict, or not an ending at all)
        moves to ``dead/``. One that can't be taken now (its account is damaged, a newer release
        wrote it, the file can't be read) stays and does not hold up the others.
        """
        done = dead = 0
        waiting: list[str] = []
        names = await asyncio.to_thread(self._names)
        for position, name in enumerate(names):
            path = self._folder / name
            try:
                ending = await asyncio.to_thread(_read, path)
                accepted = not self._too_old(name) and await ledger.end(ending) is not None
            except FileNotFoundError:
                continue  # another process sharing the folder was faster
            except (AccountDamaged, NewerFormat, OSError) as exc:
                waiting.append(f"{name}: {type(exc).__name__}: {exc}")
                continue
            except LedgerUnavailable:
                return Replay(done, dead, len(waiting) + len(names) - position)
            except (ExecutionConflict, KeyError, TypeError, ValueError) as exc:
                _log.error("spooled ending %s can't be settled: %s", name, type(exc).__name__)
                accepted = False
            if accepted:
                path.unlink(missing_ok=True)
                done += 1
            else:
                self._bury(path)
                dead += 1
        if waiting:
            _log.error("%d spooled endings have to wait, first %s", len(waiting), waiting[0])
        return Replay(done, dead, len(waiting))

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
        return sorted(path.name for path in self._folder.glob("*.json"))

    def _remove_unfinished(self) -> None:
        """Remove files that a process was writing when it died: no endings, but personal data."""
        for path in self._folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _UNFINISHED_AFTER_S:
                    path.unlink()

    def _write(self, ending: Ending) -> None:
        make_private_folder(self._folder)
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        unfinished = self._folder / f"{name}.part"
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(to_json(ending), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / f"{name}.json")
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _bury(self, path: Path) -> None:
        dead = self._folder / _DEAD
        make_private_folder(dead)
        with suppress(FileNotFoundError):
            path.rename(dead / path.name)


def _read(path: Path) -> Ending:
    return from_json(json.loads(path.read_bytes()))
