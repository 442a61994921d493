"""A file of what a process was told of accounts, for audits to compare with what is there.

A script call answers the account's epoch, and the sequence and chain of its last entry. What was
answered was acknowledged: if Redis loses it, the file still shows that it was there. A file has the
last answers of each account, by epoch: all of the last seconds before its newest one, which is
more than a server loses, so that an audit can tell where the loss begins.

``<data_dir>/told/<random>.json``, mode 0600::

    {"format": 1, "key_prefix": "cg1", "written_ms": 1778587200000,
     "accounts": {"acme": {"Ab3_": [[17, "0f3a5c99d2e1"], [19, "b1c2d3e4f5a6"]]}}}
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.background import Periodic
from runtime.credits.clock import own_clock_ms
from runtime.files.bounded import read_bounded
from runtime.files.private import make_private_folder

MOST_ACCOUNTS = 10_000
"""Accounts that a file has, the last used ones."""

MOST_POINTS = 40_000
"""Answers that a file has; above that, accounts that were used longest ago keep their last one."""

MOST_BYTES = 16 * 1024 * 1024
"""The largest file that an audit reads, many times what a process writes."""

_EVERY_S = 1.0
_KEPT_S = 5.0
_EPOCHS = 4
_FORMAT = 1

_log = logging.getLogger("creditgate.ledger")

Points = dict[str, dict[str, set[tuple[int, str]]]]
"""Sequences and chains, by account and epoch."""


@dataclass(slots=True)
class _Account:
    """The last answers of an account, by epoch: when, sequence, chain."""

    epochs: dict[str, deque[tuple[float, int, str]]] = field(default_factory=dict)

    def add(self, at_s: float, told: bytes) -> None:
        epoch, seq, chain = told.decode().split("\t")
        points = self.epochs.pop(epoch, None) or deque()
        points.append((at_s, int(seq), chain))
        while points[0][0] < at_s - _KEPT_S:
            points.popleft()
        self.epochs[epoch] = points
        if len(self.epochs) > _EPOCHS:
            del self.epochs[next(iter(self.epochs))]

    def thin(self) -> None:
        for epoch, points in self.epochs.items():
            self.epochs[epoch] = deque([points[-1]])

    def __len__(self) -> int:
        return sum(map(len, self.epochs.values()))


class ToldFile:
    """Writes what a process was told, about once a second where it was told something.

    Args:
        folder: ``data_dir/told``; made with the first file.
        key_prefix: of the Redis that tells.
    """

    def __init__(self, folder: Path, key_prefix: str) -> None:
        self._folder = folder
        self._path = folder / f"{secrets.token_hex(8)}.json"
        self._key_prefix = key_prefix
        self._fresh: list[tuple[float, str, bytes]] = []
        self._accounts: dict[str, _Account] = {}
        self._has_failed = False
        # A round that is cancelled as the file is closed leaves its thread behind.
        self._writing = threading.Lock()
        self._rounds = Periodic("keeping what was told", self._keep, _EVERY_S)

    def note(self, account_id: str, told: bytes) -> None:
        """Note an answer: epoch, sequence and chain, as the script wrote them."""
        if told:
            self._fresh.append((time.monotonic(), account_id, told))

    def start(self, outcome_ttl_ms: int) -> None:
        """Write every second until ``aclose``; remove files that are older than ``outcome_ttl``."""
        _remove_old(self._folder, outcome_ttl_ms)
        self._rounds.start(after_s=_EVERY_S)

    async def aclose(self) -> None:
        """Write for the last time."""
        await self._rounds.aclose()
        await self._keep()

    async def _keep(self) -> None:
        if not self._fresh:
            return
        fresh, self._fresh = self._fresh, []
        await asyncio.to_thread(self._write_alone, fresh)

    def _write_alone(self, fresh: Iterable[tuple[float, str, bytes]]) -> None:
        with self._writing:
            self._write(fresh)

    def _write(self, fresh: Iterable[tuple[float, str, bytes]]) -> None:
        for at_s, account_id, told in fresh:
            account = self._accounts.pop(account_id, None) or _Account()
            account.add(at_s, told)
            self._accounts[account_id] = account
        self._bound()
        content = {
            "format": _FORMAT,
            "key_prefix": self._key_prefix,
            "written_ms": own_clock_ms(),
            "accounts": {
                account_id: {
                    epoch: [[seq, chain] for _, seq, chain in points]
                    for epoch, points in account.epochs.items()
                }
                for account_id, account in self._accounts.items()
            },
        }
        try:
            self._replace(json.dumps(content, separators=(",", ":")).encode())
            self._has_failed = False
        except OSError as exc:
            if not self._has_failed:
                _log.warning("%s: what this process is told is not kept: %s", self._path, exc)
            self._has_failed = True

    def _bound(self) -> None:
        while len(self._accounts) > MOST_ACCOUNTS:
            del self._accounts[next(iter(self._accounts))]
        points = sum(map(len, self._accounts.values()))
        for account in self._accounts.values():
            if points <= MOST_POINTS:
                return
            points -= len(account)
            account.thin()
            points += len(account)

    def _replace(self, content: bytes) -> None:
        make_private_folder(self._folder)
        unfinished = self._path.with_suffix(".unfinished")
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)


@dataclass(slots=True)
class Told:
    """The points that processes were told, and the files that could not be read."""

    points: Points = field(default_factory=dict)
    files: int = 0
    damaged: list[str] = field(default_factory=list)


def read_told(folders: Iterable[Path], key_prefix: str) -> Told:
    """Read the files of these folders; those of another key prefix are left out.

    A file that can't be read is named in ``damaged``. A folder that is not there has no files.
    """
    told = Told()
    for path in _files(folders):
        try:
            content = json.loads(read_bounded(path, MOST_BYTES))
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']} is not {_FORMAT}")
            if content["key_prefix"] != key_prefix:
                continue
            points = list(_points(content["accounts"]))
        except FileNotFoundError:
            continue  # removed by the process that starts just now
        except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as exc:
            told.damaged.append(f"{path}: {type(exc).__name__}: {exc}")
            continue
        told.files += 1
        for account_id, epoch, seq, chain in points:
            account = told.points.setdefault(account_id, {})
            account.setdefault(epoch, set()).add((seq, chain))
    return told


def _points(accounts: Any) -> Iterator[tuple[str, str, int, str]]:
    for account_id, epochs in accounts.items():
        for epoch, points in epochs.items():
            for seq, chain in points:
                if type(seq) is not int or not isinstance(chain, str):
                    raise TypeError(f"account {account_id}: {[seq, chain]!r}")
                yield account_id, epoch, seq, chain


def _files(folders: Iterable[Path]) -> list[Path]:
    return sorted({path for folder in folders for path in folder.glob("*.json")})


def _remove_old(folder: Path, outcome_ttl_ms: int) -> None:
    before_s = time.time() - outcome_ttl_ms / 1000
    for path in (*_files([folder]), *folder.glob("*.unfinished")):
        try:
            if path.stat().st_mtime < before_s:
                path.unlink()
        except OSError:
            continue
