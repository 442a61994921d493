"""Endings in a spool folder as an operator sees them: listed, replayed when dead, and retired."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runtime.credits.checks import check_reference
from runtime.credits.endings import NewerFormat, Settlement
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import AccountUnknown, LedgerError, LedgerUnavailable, NotBooked
from runtime.executions.spool import DEAD, WHY, Why, read_ending, write_private
from runtime.files.bounded import read_bounded

RETIRED = "retired.log"
"""The file in the spool folder with a line of JSON for each ending that was retired."""

_LONGEST_WHY_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class SpooledEnding:
    """One ending in the spool, without the values of its outcome.

    ``why`` says why it is dead, and is empty for one that waits. What can't be read of the file is
    ``None``. ``age_s`` is by this process's clock.
    """

    name: str
    dead: bool
    why: str
    age_s: int | None
    account_id: str | None = None
    execution_key: str | None = None
    kind: str | None = None
    cost_mc: int | None = None
    exposure_mc: int | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result for one dead ending: booked now, or the reason why it stays dead."""

    name: str
    booked: bool
    why: str


def list_endings(folder: Path) -> list[SpooledEnding]:
    """Return the endings that wait in a spool folder, then the dead ones, the oldest first."""
    waiting = [_spooled(path, dead=False) for path in sorted(folder.glob("*.json"))]
    return waiting + [_spooled(path, dead=True) for path in _dead(folder)]


async def replay_dead(
    folder: Path, ledger: CreditLedger, names: Sequence[str] = ()
) -> list[Replayed]:
    """Send dead endings to the ledger once more, whatever their age; delete those that it takes.

    An ending is still charged at most once.

    Args:
        names: the ones to send; all of them by default.

    Raises:
        ValueError: there is no dead ending of such a name.
        LedgerUnavailable: Redis can't be reached.
    """
    replayed = []
    for path in _chosen(folder, names):
        why = await _send(path, ledger)
        if why:
            write_private(_why_path(path), why)
        else:
            _delete(path)
        replayed.append(Replayed(path.name, not why, why))
    return replayed


def retire(folder: Path, names: Sequence[str], *, reason: str, actor: str) -> list[SpooledEnding]:
    """Give dead endings up for good: they are deleted, and nobody is charged for them.

    Each leaves a line in ``retired.log`` with its account, amount, actor and reason.

    Raises:
        ValueError: there is no dead ending of such a name, or an argument is not allowed.
    """
    check_reference(reason, "reason")
    check_reference(actor, "actor")
    retired = []
    for path in _chosen(folder, names):
        ending = _spooled(path, dead=True)
        line = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "actor": actor,
            "reason": reason,
            "name": ending.name,
            "why": ending.why,
            "account_id": ending.account_id,
            "execution_key": ending.execution_key,
            "kind": ending.kind,
            "cost_mc": ending.cost_mc,
            "exposure_mc": ending.exposure_mc,
        }
        write_private(folder / RETIRED, json.dumps(line) + "\n", appended=True)
        _delete(path)
        retired.append(ending)
    return retired


async def _send(path: Path, ledger: CreditLedger) -> str:
    """Send one ending; return why it can't be booked, or ""."""
    try:
        answer = await ledger.end(read_ending(path))
    except (LedgerUnavailable, FileNotFoundError):
        raise
    except (AccountUnknown, NewerFormat) as error:
        return str(error)
    except LedgerError:
        return Why.CONFLICT
    except Exception:  # noqa: BLE001 - whatever the file holds
        return Why.NO_ENDING
    return Why.BEYOND_HORIZON if isinstance(answer, NotBooked) else ""


def _spooled(path: Path, *, dead: bool) -> SpooledEnding:
    written_ns = path.name.partition("-")[0]
    age_s = None
    if written_ns.isdigit():
        age_s = max(0, (time.time_ns() - int(written_ns[:20])) // 1_000_000_000)
    why = _why(path) if dead else ""
    try:
        ending = read_ending(path)
    except Exception:  # noqa: BLE001 - it is listed as what can't be read
        return SpooledEnding(path.name, dead, why, age_s)
    return SpooledEnding(
        path.name,
        dead,
        why,
        age_s,
        ending.attempt.account_id,
        ending.attempt.execution_key,
        type(ending).__name__.lower(),
        ending.cost_mc if isinstance(ending, Settlement) else 0,
        ending.exposure_mc,
    )


def _why(path: Path) -> str:
    try:
        return read_bounded(_why_path(path), _LONGEST_WHY_BYTES).decode(errors="replace")
    except OSError:
        return "unknown: an earlier release set it aside"


def _why_path(path: Path) -> Path:
    return path.with_name(path.name + WHY)


def _dead(folder: Path) -> list[Path]:
    return sorted((folder / DEAD).glob("*.json"))


def _chosen(folder: Path, names: Sequence[str]) -> Iterable[Path]:
    found = {path.name: path for path in _dead(folder)}
    for name in names:
        if name not in found:
            raise ValueError(f"{name!r} is not a dead ending; creditgate spool list shows them")
    return [found[name] for name in dict.fromkeys(names)] if names else list(found.values())


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        _why_path(path).unlink()
