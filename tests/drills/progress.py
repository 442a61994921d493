"""The rounds that are done, in a file, so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.drills.drill import Drill


@dataclass(frozen=True, slots=True)
class Done:
    """A round that is done."""

    ended_at: str
    seconds: float
    counts: dict[str, int]
    notes: list[str]
    wrong: list[str]


@dataclass(slots=True)
class Progress:
    """What was done of a run, and with which seed and scale.

    Args:
        conditions: the versions and the machine of the first round.
        skipped: why a drill was left out, by its name.
    """

    seed: int
    scale: int
    conditions: dict[str, str]
    rounds: dict[str, Done] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Progress:
        data = json.loads(path.read_text())
        data["rounds"] = {name: Done(**done) for name, done in data["rounds"].items()}
        return cls(**data)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.part")
        unfinished.write_text(json.dumps(asdict(self), indent=1))
        unfinished.replace(path)

    def left(self, drills: Sequence[Drill]) -> list[tuple[Drill, int, int]]:
        """Return what is still to be done: drill, number of the round, and its strikes."""
        return [
            (drill, number, strikes)
            for drill in drills
            for number, strikes in enumerate(drill.rounds(self.scale))
            if name_of(drill, number) not in self.rounds
        ]

    def of(self, drill: Drill) -> list[Done]:
        """Return the rounds of a drill that are done."""
        numbers = range(len(drill.rounds(self.scale)))
        names = [name_of(drill, number) for number in numbers]
        return [self.rounds[name] for name in names if name in self.rounds]


def name_of(drill: Drill, number: int) -> str:
    return f"{drill.name}/{number}"
