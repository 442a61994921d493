"""Removes values from spooled endings, whose charges stay.

The ledger knows who was forgotten, and each process asks it about the endings in its own folder,
dead ones too. No process needs to be told.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from runtime.credits.endings import Ending, to_json
from runtime.credits.erasure import Forgetting, Person
from runtime.credits.ledger import CreditLedger
from runtime.executions.spool import DEAD, read_ending

ERASE_EVERY_S = 30.0
"""The pause between two rounds of a process through its spool."""

MOST_FILES = 2_000
"""The files that one round looks at; the next one goes on behind them."""

_UNFINISHED_AFTER_S = 10


class SpooledValues:
    """Values of people in a spool folder; a place that is erased."""

    name = "spool"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def erase(self, forgetting: Forgetting) -> int:
        """Remove the person's values from the folder's endings; return from how many.

        Raises:
            OSError: a file can't be written.
        """
        return await asyncio.to_thread(self._erase, forgetting.person)

    def _erase(self, person: Person) -> int:
        _remove_unfinished(self._folder)
        _remove_unfinished(self._folder / DEAD)
        erased = 0
        for path in _paths(self._folder):
            ending = _readable(path)
            if ending is not None and ending.outcome and person.owns(ending):
                erased += _rewrite(path, ending)
        return erased


class SpoolErasure:
    """Keeps a process's own spool free of the values of people who were forgotten.

    Values older than ``outcome_ttl_ms`` are removed whoever they are of: nothing would store them.
    """

    def __init__(self, folder: Path, ledger: CreditLedger) -> None:
        self._folder = folder
        self._ledger = ledger
        self._last = ""

    async def round(self) -> int:
        """Look at up to ``MOST_FILES`` endings; return from how many values were removed.

        Raises:
            LedgerUnavailable: Redis is away.
            OSError: a file can't be written.
        """
        found = await asyncio.to_thread(self._next_ones)
        if not found:
            return 0
        oldest_ns = time.time_ns() - self._ledger.settings.outcome_ttl_ms * 1_000_000
        too_old = [_written_ns(path) < oldest_ns for path, _ in found]
        was_forgotten = await self._ledger.erasure.forgotten([ending for _, ending in found])
        doomed = [
            one for one, *whether in zip(found, too_old, was_forgotten, strict=True) if any(whether)
        ]
        return await asyncio.to_thread(lambda: sum(_rewrite(*one) for one in doomed))

    def _next_ones(self) -> list[tuple[Path, Ending]]:
        """Return the endings with values among the next files, in the order of their names."""
        paths = sorted(_paths(self._folder), key=lambda path: path.name)
        following = [path for path in paths if path.name > self._last]
        chosen = following[:MOST_FILES]
        self._last = chosen[-1].name if len(following) > MOST_FILES else ""
        read = ((path, _readable(path)) for path in chosen)
        return [(path, ending) for path, ending in read if ending is not None and ending.outcome]


def without_values(ending: Ending) -> Ending:
    """Return an ending that charges the same and stores no values."""
    return ending if ending.outcome is None else replace(ending, outcome=b"")


def _paths(folder: Path) -> Iterator[Path]:
    """Yield waiting endings, then dead ones: those that die meanwhile are seen there."""
    yield from sorted(folder.glob("*.json"))
    yield from sorted((folder / DEAD).glob("*.json"))


def _readable(path: Path) -> Ending | None:
    try:
        return read_ending(path)
    except Exception:  # noqa: BLE001 - what can't be read is not sent either; spool list shows it
        return None


def _written_ns(path: Path) -> int:
    written_ns = path.name.partition("-")[0]
    return int(written_ns) if written_ns.isdigit() else time.time_ns()


def _rewrite(path: Path, ending: Ending) -> int:
    """Put an ending without its values in a file's place; return 0 if the file has gone.

    A process that has just sent the ending may delete the file before it is replaced. The ending is
    then sent once more, which the ledger recognizes.
    """
    unfinished = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.part")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(to_json(without_values(ending)), file)
        file.flush()
        os.fsync(file.fileno())
    if not path.exists():
        unfinished.unlink()
        return 0
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return 1


def _remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left: values, and no ending. One at work writes it again."""
    for path in folder.glob("*.part"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _UNFINISHED_AFTER_S:
                path.unlink()
