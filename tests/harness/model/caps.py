"""Caps: what a workspace, campaign, action or source may charge in a window of UTC time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

DAY_MS = 24 * 3_600_000
WINDOWS = ("day", "month", "total")
MOST_SHAPES = 8


class Dimensions(Protocol):
    """What of an execution a cap looks at."""

    @property
    def workspace_id(self) -> str: ...
    @property
    def campaign_id(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def source(self) -> str: ...


class CapName(NamedTuple):
    """A cap's window and dimensions; one that is ``None`` is not looked at."""

    window: str
    workspace_id: str | None = None
    campaign_id: str | None = None
    action: str | None = None
    source: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Window and named dimensions, as numbers: two caps of one shape never match together."""
        named = (self.workspace_id, self.campaign_id, self.action, self.source)
        weights = zip((1, 2, 4, 8), named, strict=True)
        return WINDOWS.index(self.window), sum(w for w, name in weights if name is not None)

    def matches(self, execution: Dimensions) -> bool:
        return (
            self.workspace_id in (None, execution.workspace_id)
            and self.campaign_id in (None, execution.campaign_id)
            and self.action in (None, execution.action)
            and self.source in (None, execution.source)
        )


def window_start(window: str, at: int) -> int:
    """When the window around ``at`` began; all of time is one window that began at 0."""
    if window == "day":
        return at - at % DAY_MS
    if window == "month":
        first = datetime.fromtimestamp(at // 1000, UTC).replace(day=1)
        return window_start("day", int(first.timestamp()) * 1000)
    return 0


def window_end(window: str, at: int) -> int | None:
    """When the next window begins."""
    if window == "total":
        return None
    start = window_start(window, at)
    within_next = start + (DAY_MS if window == "day" else 31 * DAY_MS)
    return window_start(window, within_next)


@dataclass
class Counter:
    charged: int = 0
    reserved: int = 0


@dataclass(eq=False)
class Cap:
    """One cap, from the moment it was set until it is removed. ``counters`` are by window."""

    name: CapName
    limit: int
    counters: defaultdict[int, Counter] = field(default_factory=lambda: defaultdict(Counter))

    def counter(self, at: int) -> Counter:
        return self.counters[window_start(self.name.window, at)]

    def status(self, at: int) -> tuple[CapName, int, int, int, int | None]:
        counter, end = self.counter(at), window_end(self.name.window, at)
        resets_in = None if end is None else end - at
        return (self.name, self.limit, counter.charged, counter.reserved, resets_in)

    def refuses(self, amount: int, at: int) -> bool:
        counter = self.counter(at)
        return amount > 0 and counter.charged + counter.reserved + amount > self.limit

    def lets_pass_later(self, amount: int, at: int) -> bool:
        """Whether only what is reserved stands in the way."""
        return self.counter(at).charged + amount <= self.limit


Note = Counter
"""A reservation notes the counters, each of one window of one cap, that it was added to."""


@dataclass
class Caps:
    """The account's caps."""

    by_name: dict[CapName, Cap] = field(default_factory=dict)

    def has_room_for(self, name: CapName) -> bool:
        shapes = {cap.shape for cap in self.by_name}
        return len(shapes | {name.shape}) <= MOST_SHAPES

    def set(self, name: CapName, limit: int, used: int, at: int) -> None:
        if name in self.by_name:
            self.by_name[name].limit = limit
        else:
            self.by_name[name] = Cap(name, limit)
            self.by_name[name].counter(at).charged = used

    def matching(self, execution: Dimensions) -> list[Cap]:
        found = [cap for cap in self.by_name.values() if cap.name.matches(execution)]
        return sorted(found, key=lambda cap: cap.name.shape)

    def refusing(self, execution: Dimensions, amount: int, at: int) -> Cap | None:
        """The cap to report: the first that will not pass by itself, else the first."""
        caps = [cap for cap in self.matching(execution) if cap.refuses(amount, at)]
        lasting = [cap for cap in caps if not cap.lets_pass_later(amount, at)]
        return next(iter(lasting or caps), None)

    def windows_now(self, execution: Dimensions, at: int) -> list[Note]:
        return [cap.counter(at) for cap in self.matching(execution)]
