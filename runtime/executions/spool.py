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
from pathlib import Path

from runtime.credits.endings import Ending, NewerFormat, from_json, to_json
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import AccountDamaged, LedgerUnavailable, NotBooked
from runtime.files.bounded import FileTooLarge, read_bounded
from runtime.files.private import make_private_folder

_log = logging.getLogger("creditgate.spool")
_DEAD = "dead"
_UNFINISHED_AFTER_S = 600

MOST_FILE_BYTES = 2 * 1024 * 1024
"""Larger files are set aside. An ending with a larger outcome is written without its outcome."""


class _Waits(Exception):
    """An ending that the ledger can't take now, while it can take others."""


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
        self._folder = folder
        self._max_age_ms = max_age_ms
        self._told: dict[str, str] = {}

    async def put(self, ending: Ending) -> None:
        """Write an ending to disk and sync it.

        Raises:
            OSError: the ending can't be written.
        """
        await asyncio.to_thread(self._write, ending)

    async def replay(self, ledger: CreditLedger) -> Replay:
        """Send spooled endings, oldest first, until all are sent or Redis is away again.

        An ending that the ledger will never take (too old, in conflict, too large, or not an ending
        at all) moves to ``dead/``. One that can't be taken now (its account is damaged, a newer
        release wrote it, the file can't be read) stays. Neither holds up the others, and each is
        logged once.
        """
        done = dead = 0
        waiting: dict[str, str] = {}
        names = await asyncio.to_thread(self._names)
        for position, name in enumerate(names):
            try:
                sent = await self._replay_one(self._folder / name, ledger)
            except FileNotFoundError:
                continue  # another process sharing the folder was faster
            except _Waits as exc:
                waiting[name] = str(exc)
                continue
            except LedgerUnavailable:
                return Replay(done, dead, len(waiting) + len(names) - position)
            done += sent
            dead += not sent
        self._tell(waiting)
        return Replay(done, dead, len(waiting))

    async def _replay_one(self, path: Path, ledger: CreditLedger) -> bool:
        """Send one ending; return whether the ledger took it. Otherwise it is dead.

        Raises:
            _Waits: the ledger can't take this ending now.
            LedgerUnavailable: Redis is away.
        """
        try:
            ending = await asyncio.to_thread(_read, path)
            accepted = not self._too_old(path.name) and not isinstance(
                await ledger.end(ending), NotBooked
            )
        except (AccountDamaged, NewerFormat) as exc:
            raise _Waits(f"{type(exc).__name__}: {exc}") from exc
        except (LedgerUnavailable, FileNotFoundError):
            raise
        except OSError as exc:
            if not isinstance(exc, FileTooLarge):
                raise _Waits(f"{type(exc).__name__}: {exc}") from exc
            accepted = self._is_dead(path, exc)
        except Exception as exc:  # noqa: BLE001 - one file must not end the replay of the others
            accepted = self._is_dead(path, exc)
        try:
            self._remove(path, bury=not accepted)
        except OSError as exc:
            raise _Waits(f"can't be removed: {exc}") from exc
        return accepted

    def _is_dead(self, path: Path, error: Exception) -> bool:
        if path.name not in self._told:
            self._told[path.name] = type(error).__name__
            _log.error("spooled ending %s can't be settled: %s", path.name, type(error).__name__)
        return False

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
        return sorted(path.name for path in self._folder.glob("*.json"))

    def _remove_unfinished(self) -> None:
        """Remove unfinished files of dead processes: they hold personal data, but no ending."""
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
            file.write(_encoded(ending))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / f"{name}.json")
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _remove(self, path: Path, *, bury: bool) -> None:
        if not bury:
            path.unlink(missing_ok=True)
            return
        dead = self._folder / _DEAD
        make_private_folder(dead)
        with suppress(FileNotFoundError):
            path.rename(dead / path.name)


def _encoded(ending: Ending) -> str:
    text = json.dumps(to_json(ending))
    if len(text) > MOST_FILE_BYTES:
        # The charge counts more: asked again, the id answers `outcome_lost`.
        text = json.dumps(to_json(replace(ending, outcome=b"")))
    return text


def _read(path: Path) -> Ending:
    return from_json(json.loads(read_bounded(path, MOST_FILE_BYTES)))
