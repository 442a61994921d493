"""A drill: how often it does what, in rounds whose books are checked one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.drills.books import Findings


@dataclass(frozen=True, slots=True)
class Round:
    """One round: where it is run, by what chance, and how often it strikes."""

    folder: Path
    seed: int
    strikes: int


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill.

    Args:
        strikes: how often it strikes in all, at full scale.
        each: how often in one round.
        run: runs a round and returns what was found.
        needs: returns what this machine lacks for it, or "".
    """

    name: str
    about: str
    strikes: int
    each: int
    run: Callable[[Round], Coroutine[Any, Any, Findings]]
    needs: Callable[[], str] = lambda: ""

    def rounds(self, per_cent: int) -> list[int]:
        """Return the strikes of each round at a scale; there is at least one strike."""
        left = max(1, math.ceil(self.strikes * per_cent / 100))
        rounds = []
        while left:
            rounds.append(min(left, self.each))
            left -= rounds[-1]
        return rounds
