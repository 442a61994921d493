"""Caps: limits on what a workspace, campaign, action or source may charge in a window."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from urllib.parse import quote, unquote

from runtime.credits.checks import check_named, check_whole, choice

# The bit of each dimension in a sort's shape, as limits.lua has them.
_BITS = {"workspace_id": 1, "campaign_id": 2, "action": 4, "source": 8}


class CapWindow(StrEnum):
    """The period after which a cap's count starts again: a day or a month of the account's time
    zone, or never.
    """

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit on the charges of the named dimensions within a window.

    A cap without dimensions counts the whole account.

    Raises:
        ValueError: the window is none of ``day``, ``month``, ``total``; a dimension is not
            text of 1 to 1,000 characters without control characters.

    Example:
        >>> Cap("day", workspace_id="retail", source="preview")
    """

    window: CapWindow | Literal["day", "month", "total"]
    workspace_id: str | None = None
    campaign_id: str | None = None
    action: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", choice(self.window, CapWindow, "window"))
        for name, value in self.named.items():
            check_named(value, name)

    @property
    def named(self) -> dict[str, str]:
        """The dimensions that must match, by name."""
        found = {name: getattr(self, name) for name in _BITS}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def sort(self) -> str:
        """Window and named dimensions, as ``limits.lua`` has them."""
        return f"{self.window[0]}{sum(_BITS[name] for name in self.named)}"

    @property
    def field(self) -> str:
        """The field of the account's ``limits`` hash that holds the cap."""
        return "\t".join([f"cap {self.sort}", *self.named.values()])

    def __str__(self) -> str:
        """Return the cap as one word, with its values quoted: ``day;workspace_id=retail``."""
        named = (f"{name}={quote(value, safe='')}" for name, value in self.named.items())
        return ";".join([self.window, *named])


@dataclass(frozen=True, slots=True)
class DefaultCap:
    """The cap that each workspace, or each campaign, of an account begins with.

    Raises:
        ValueError: an argument is not allowed.
    """

    dimension: Literal["workspace_id", "campaign_id"]
    window: CapWindow | Literal["day", "month", "total"]
    limit_mc: int

    def __post_init__(self) -> None:
        if self.dimension not in ("workspace_id", "campaign_id"):
            raise ValueError(f"dimension: found {self.dimension!r}")
        object.__setattr__(self, "window", choice(self.window, CapWindow, "window"))
        check_whole(self.limit_mc, "limit_mc")

    @property
    def sort(self) -> str:
        """Window and dimension, as ``limits.lua`` has them."""
        return f"{self.window[0]}{_BITS[self.dimension]}"

    def cap(self, name: str) -> Cap:
        """Return the cap of one workspace or campaign."""
        return Cap(self.window, **{self.dimension: name})


@dataclass(frozen=True, slots=True)
class CapStatus:
    """A cap and its current window. ``resets_in_ms`` is ``None`` for a total."""

    cap: Cap
    limit_mc: int
    charged_mc: int
    reserved_mc: int
    resets_in_ms: int | None

    @property
    def cap_excess_mc(self) -> int:
        """The amount above the limit, from costs above quotes, late charges or a lowered limit."""
        return max(0, self.charged_mc + self.reserved_mc - self.limit_mc)


def parse_cap(text: str) -> Cap:
    """Return the cap of its one word, such as ``day;workspace_id=retail``.

    Raises:
        ValueError: it is none.
    """
    window, *parts = text.split(";")
    named: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if name not in _BITS or not equals or name in named:
            raise ValueError(f"found {part[:80]!r}, allowed is once each of {', '.join(_BITS)}")
        named[name] = unquote(value, errors="strict")
    return Cap(CapWindow(choice(window, CapWindow, "window")), **named)


def cap_of(field: str) -> Cap:
    """Return the cap whose ``field`` this is."""
    sort, *values = field.removeprefix("cap ").split("\t")
    (window,) = [window for window in CapWindow if window[0] == sort[0]]
    shape, left = int(sort[1:]), iter(values)
    return Cap(window, **{name: next(left) for name, bit in _BITS.items() if shape & bit})
