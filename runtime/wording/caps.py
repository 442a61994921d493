"""Sentences about caps, and about what is switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from runtime.credits.caps import Cap, CapStatus, CapWindow
from runtime.credits.results import Switched
from runtime.wording.amounts import credits_text, duration_text

CAP_WINDOWS: Mapping[str, str] = MappingProxyType(
    {CapWindow.DAY: "a day", CapWindow.MONTH: "a month", CapWindow.TOTAL: "in total"}
)
"""The window of a cap, to stand after its limit."""

_DIMENSIONS = {
    "workspace_id": "workspace",
    "campaign_id": "campaign",
    "action": "action",
    "source": "source",
}


def cap_target_text(cap: Cap) -> str:
    """Return whose charges a cap counts."""
    named = [f"{_DIMENSIONS[name]} {value}" for name, value in cap.named.items()]
    return ", ".join(named) or "the account"


def cap_text(cap: Cap, limit_mc: int) -> str:
    """Name a cap by its limit, its window and whose charges it counts."""
    return f"{credits_text(limit_mc)} credits {CAP_WINDOWS[cap.window]} for {cap_target_text(cap)}"


def cap_reached_text(status: CapStatus) -> str:
    """Return which cap was reached, and what its window holds."""
    reset = ""
    if status.resets_in_ms is not None:
        reset = f"; it resets in {duration_text(status.resets_in_ms)}"
    return (
        f"the cap of {cap_text(status.cap, status.limit_mc)}: "
        f"{credits_text(status.charged_mc)} charged, {credits_text(status.reserved_mc)} reserved"
        f"{reset}"
    )


def above_limit_text(quote_mc: int, limit_mc: int) -> str:
    """Return why an execution is not begun whose quote is above the limit of one execution."""
    return (
        f"it may cost up to {credits_text(quote_mc)} credits, and one execution may cost "
        f"{credits_text(limit_mc)} at most (executions.max_credits)"
    )


def cap_mark_text(account_id: str, cap: Cap, percent: int, limit_mc: int, charged_mc: int) -> str:
    """Return how far a cap is used, for the terminal."""
    used = f"{credits_text(charged_mc)} of the cap of {cap_text(cap, limit_mc)}"
    then = "What it counts uses fallback values until it starts again." if percent >= 100 else ""
    return f"Account {account_id} has used {used}. {then}".rstrip()


def switched_off_text(targets: Sequence[str]) -> str:
    """Return what is switched off now."""
    if not targets:
        return "Nothing is switched off."
    return (
        f"Switched off: {', '.join(targets)}. Executions there get fallback values; calls under "
        "way finish."
    )


def still_open_text(switched: Switched) -> str:
    """Return what runs under a switch, and what it may cost at most."""
    if not switched.open_executions:
        return "Nothing is running there."
    count = switched.open_executions
    running = "1 execution is running" if count == 1 else f"{count:,} executions are running"
    where = "there" if switched.exact else "in the whole account (too many to look at each)"
    return f"{running} {where}, and may cost up to {credits_text(switched.open_mc)} credits."
