"""Caps: what a workspace, campaign, action or source may charge in a window of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tests.harness.model.calendar import window_end

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


class Moment(NamedTuple):
    """A time, and the time zone by which windows end that begin then."""

    at: int
    timezone: str

    def end_of(self, window: str) -> int | None:
        return window_end(window, self.at, self.timezone)


@dataclass
class Counter:
    """What one window of one cap has counted. ``ends`` is ``None`` for the one without end."""

    ends: int | None
    charged: int = 0
    reserved: int = 0
    told: set[int] = field(default_factory=set)
    """The marks, in per cent of the limit, that were told of this window."""

    def lasts(self, at: int) -> bool:
        return self.ends is None or at < self.ends


@dataclass(eq=False)
class Cap:
    """One cap, from the moment it was set until it is removed.

    ``begun`` is its last window, which begins with the first amount that counts in it and lasts
    until its end, whatever time zone the account has by then.
    """

    name: CapName
    limit: int
    begun: Counter

    def window(self, moment: Moment) -> Counter:
        """The window of now, which may not have begun."""
        if self.begun.lasts(moment.at):
            return self.begun
        return Counter(moment.end_of(self.name.window))

    def begin_window(self, moment: Moment) -> Counter:
        self.begun = self.window(moment)
        return self.begun

    def status(self, moment: Moment) -> tuple[CapName, int, int, int, int | None]:
        counter = self.window(moment)
        resets_in = None if counter.ends is None else counter.ends - moment.at
        return (self.name, self.limit, counter.charged, counter.reserved, resets_in)

    def refuses(self, amount: int, moment: Moment) -> bool:
        counter = self.window(moment)
        return amount > 0 and counter.charged + counter.reserved + amount > self.limit

    def reached(self, percent: int) -> bool:
        return self.begun.charged >= self.limit * percent // 100

    def lets_pass_later(self, amount: int, moment: Moment) -> bool:
        """Whether only what is reserved stands in the way."""
        return self.window(moment).charged + amount <= self.limit


Note = Counter
"""A reservation notes the counters, each of one window of one cap, that it was added to."""


@dataclass
class Caps:
    """The account's caps."""

    by_name: dict[CapName, Cap] = field(default_factory=dict)
    marks: tuple[int, ...] = ()

    def has_room_for(self, name: CapName) -> bool:
        shapes = {cap.shape for cap in self.by_name}
        return name.shape in shapes or len(shapes) < MOST_SHAPES

    def set(self, name: CapName, limit: int, used: int, moment: Moment) -> None:
        if name in self.by_name:
            cap = self.by_name[name]
            cap.limit = limit
            cap.begun.told = {percent for percent in cap.begun.told if cap.reached(percent)}
        else:
            begun = Counter(moment.end_of(name.window), charged=used)
            self.by_name[name] = Cap(name, limit, begun)

    def matching(self, execution: Dimensions) -> list[Cap]:
        found = [cap for cap in self.by_name.values() if cap.name.matches(execution)]
        return sorted(found, key=lambda cap: cap.name.shape)

    def refusing(self, execution: Dimensions, amount: int, moment: Moment) -> Cap | None:
        """The cap to report: the first that will not pass by itself, else the first."""
        caps = [cap for cap in self.matching(execution) if cap.refuses(amount, moment)]
        lasting = [cap for cap in caps if not cap.lets_pass_later(amount, moment)]
        return next(iter(lasting or caps), None)

    def begin_windows(self, execution: Dimensions, moment: Moment) -> list[Note]:
        return [cap.begin_window(moment) for cap in self.matching(execution)]

    def reached(self, caps: Iterable[Cap], moment: Moment) -> list[tuple[str, int]]:
        """The marks that these caps' charges have reached and nobody was told of: mark, amount."""
        return [
            told
            for cap in caps
            if cap.begun.lasts(moment.at) and cap.begun.charged
            for percent in self.marks
            if cap.reached(percent)
            for told in self._tell(cap, percent)
        ]

    def refused(self, cap: Cap, moment: Moment) -> list[tuple[str, int]]:
        """A refusal by a cap was concluded: it is used up, though it may not be charged in full."""
        if 100 not in self.marks:
            return []
        cap.begin_window(moment)
        return self._tell(cap, 100)

    def _tell(self, cap: Cap, percent: int) -> list[tuple[str, int]]:
        if percent in cap.begun.told:
            return []
        cap.begun.told.add(percent)
        return [(f"c{percent}", cap.limit * percent // 100)]
