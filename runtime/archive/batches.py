"""Entries on their way from Redis into SQL: checked, and made into rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.archive.rollup import Moves, Rollup, moves_of
from runtime.credits.journal import CHAIN_DIGITS, LETTERS, VERSION, JournalError
from runtime.store.schema import DIMENSION_LENGTH

StreamEntry = tuple[bytes, bytes, bytes]
"""The id of a stream entry, its body and its chain, as Redis has them."""

Row = tuple[int, int, str, str, int, int, int, int, int, str]

_NAMED = "n"
_DIMENSIONS = 6
_DETAIL, _EFFECTIVE, _DIMS = 17, 14, 7
_MOST_INTEGER, _MOST_BIG = 2**31 - 1, 2**63 - 1
_LONGEST_EPOCH = 16


@dataclass(slots=True)
class Position:
    """The point up to which an account is archived, and what it had left there."""

    no: int
    account_id: str
    epoch: str
    seq: int
    chain: str
    left_mc: int
    state: str
    has_moved: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """The way that one batch brings an account forward."""

    no: int
    seq_before: int
    chain_before: str
    seq: int
    chain: str
    epoch: str
    left_mc: int


class Batch:
    """Rows of many accounts that are written in one transaction."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.dimensions: list[tuple[int | str, ...]] = []
        self.rollup = Rollup()
        self.bytes = 0
        self.steps: list[Step] = []
        self.moved: set[str] = set()
        self.reached: list[tuple[str, int, str]] = []
        self._begun: dict[int, tuple[Position, int, str]] = {}

    def __bool__(self) -> bool:
        return bool(self._begun)

    def close(self) -> None:
        """Note in ``steps`` and ``reached`` how far the accounts are, before they move on."""
        for no, (at, seq, chain) in sorted(self._begun.items()):
            self.reached.append((at.account_id, at.seq, at.chain))
            if at.seq > seq:
                self.moved.add(at.account_id)
                self.steps.append(Step(no, seq, chain, at.seq, at.chain, at.epoch, at.left_mc))

    def add(self, position: Position, entries: Iterable[StreamEntry]) -> None:
        """Add entries that continue ``position``, which moves on.

        Raises:
            JournalError: an entry can't be read or does not continue the one before it. Those
                before it are added. The message names the entry.
        """
        self._begun.setdefault(position.no, (position, position.seq, position.chain))
        for entry_id, raw, chain in entries:
            self._add(position, entry_id, raw, chain)

    def _add(self, position: Position, entry_id: bytes, raw: bytes, chain: bytes) -> None:
        seq = position.seq + 1
        if entry_id != b"0-%d" % seq:
            found = entry_id.decode(errors="replace")
            raise JournalError(f"journal entry 0-{seq} is missing, found {found}")
        digest = hashlib.sha1(position.chain.encode() + raw, usedforsecurity=False)
        expected = digest.hexdigest()[:CHAIN_DIGITS]
        if chain != expected.encode():
            found = chain.decode(errors="replace")
            raise JournalError(f"journal entry 0-{seq}: chain {found}, expected {expected}")
        try:
            epoch, row, columns, moves = _read(position, seq, expected, raw)
            kind, at_ms, effective_ms, dims = row[3:7]
            self.rollup.add(position.no, kind, at_ms, effective_ms, dims, columns, moves)
        except (IndexError, KeyError, ValueError) as exc:
            raise JournalError(f"journal entry 0-{seq}: {type(exc).__name__}: {exc}") from exc
        if kind == _NAMED:
            self.dimensions.append((position.no, dims, *columns[_DETAIL:]))
        self.rows.append(row)
        self.bytes += len(raw)
        position.seq, position.chain, position.epoch = seq, expected, epoch
        position.left_mc, position.has_moved = row[8], True


def _read(
    position: Position, seq: int, chain: str, raw: bytes
) -> tuple[str, Row, list[str], Moves]:
    """Return an entry's epoch, its row, its columns, and what it moved."""
    body = raw.decode()
    columns = body.split("\t")
    size = len(columns)
    version, epoch, kind, at = columns[:4]
    if int(version) > VERSION:
        raise ValueError(
            f"version {version} was written by a newer release, this one reads up to {VERSION}: "
            "run the newer release"
        )
    at_ms = int(at)
    effective_ms = int(columns[_EFFECTIVE] or at) if size > _EFFECTIVE else at_ms
    dims = int(columns[_DIMS] or 0) if size > _DIMS else 0
    moves = moves_of(columns)
    charged_mc, left_mc = moves[1], position.left_mc + moves[2]
    if kind not in LETTERS:
        raise ValueError(f"there is no kind {kind!r}")
    if len(epoch) > _LONGEST_EPOCH:
        raise ValueError(f"an epoch has at most {_LONGEST_EPOCH} characters")
    if not (
        0 <= at_ms <= _MOST_BIG
        and 0 <= effective_ms <= _MOST_BIG
        and 0 <= charged_mc <= _MOST_BIG
        and -_MOST_BIG <= left_mc <= _MOST_BIG
        and 0 <= dims <= _MOST_INTEGER
    ):
        raise ValueError("a number is too large or negative")
    if "\0" in body:
        raise ValueError("it has a NUL character")
    if kind == _NAMED:
        _check_named(dims, columns[_DETAIL:])
    row = (position.no, seq, chain, kind, at_ms, effective_ms, dims, charged_mc, left_mc, body)
    return epoch, row, columns, moves


def _check_named(number: int, dimensions: list[str]) -> None:
    if not number or len(dimensions) != _DIMENSIONS:
        raise ValueError(f"it must name {_DIMENSIONS} dimensions by a number")
    if max(map(len, dimensions)) > DIMENSION_LENGTH:
        raise ValueError(f"a dimension has at most {DIMENSION_LENGTH} characters")
