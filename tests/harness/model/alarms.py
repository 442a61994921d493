"""Alerts: once per downward crossing of what is left, with a rest after each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

EXHAUSTED = "exhausted"
TOO_LITTLE = ("insufficient_credits", "execution_too_large")


@dataclass
class Alarms:
    """The account's marks: ``p20`` is 20% of what the last grant left, ``a500`` is 500.

    A mark that is in ``crossed`` is not looked at until a grant takes it out again.
    """

    marks: tuple[str, ...]
    cooldown: int
    tell: Callable[[str, int, int], None]
    top: int = 0
    crossed: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    told_at: dict[str, int] = field(default_factory=dict)

    def threshold(self, mark: str) -> int:
        number = int(mark[1:])
        return self.top * number // 100 if mark[0] == "p" else number

    @property
    def lowest(self) -> int:
        return min(map(self.threshold, self.marks), default=self.top // 100)

    def change(self, marks: tuple[str, ...]) -> None:
        """Other marks from now on; those that went are forgotten, as if they had never been."""
        self.marks, kept = marks, (*marks, EXHAUSTED)
        self.crossed = [mark for mark in self.crossed if mark in kept]
        self.pending = [mark for mark in self.pending if mark in kept]
        self.told_at = {mark: at for mark, at in self.told_at.items() if mark in kept}

    def fell(self, before: int, left: int, now: int) -> None:
        """What is left went down (or not) from ``before``."""
        for mark in self.marks:
            if before > self.threshold(mark) >= left:
                self._cross(mark, left, now)
        if before > 0 == left:
            self._cross(EXHAUSTED, left, now)

    def refused(self, reason: str, left: int, now: int) -> None:
        """A refusal was concluded: what is left may be too little to run anything."""
        if reason in TOO_LITTLE and left <= self.lowest:
            self._cross(EXHAUSTED, left, now)

    def rose(self, before: int, left: int) -> None:
        """A grant came; one that had expired by then lifts nothing and arms nothing."""
        if left > before:
            self.top = left
            self.crossed = [
                mark for mark in self.crossed if mark != EXHAUSTED and left <= self.threshold(mark)
            ]
            self.pending = [mark for mark in self.pending if mark in self.crossed]

    def tell_pending(self, left: int, now: int) -> bool:
        """Tell what has waited for the end of its rest; return whether there was any."""
        due = [mark for mark in self.pending if self._may_tell(mark, now)]
        for mark in due:
            self.pending.remove(mark)
            self._tell(mark, left, now)
        return bool(due)

    def when_pending_may_be_told(self) -> list[int]:
        return [self.told_at[mark] + self.cooldown for mark in self.pending]

    def _cross(self, mark: str, left: int, now: int) -> None:
        if mark in self.crossed:
            return
        self.crossed.append(mark)
        if self._may_tell(mark, now):
            self._tell(mark, left, now)
        else:
            self.pending.append(mark)

    def _may_tell(self, mark: str, now: int) -> bool:
        return mark not in self.told_at or now >= self.told_at[mark] + self.cooldown

    def _tell(self, mark: str, left: int, now: int) -> None:
        self.told_at[mark] = now
        if mark == EXHAUSTED:
            self.tell(mark, self.lowest if left else 0, left)
        else:
            self.tell(mark, self.threshold(mark), left)
