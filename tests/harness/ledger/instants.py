"""The instants at which something changes by itself, which random steps go to."""

from __future__ import annotations

from collections.abc import Sequence

from tests.harness.ledger.dice import Dice
from tests.harness.model import Model
from tests.harness.model.calendar import clocks_change, window_end

# Clocks that change by an hour, by half of one or by two, at midnight, before or after it; zones
# that are no whole hours from UTC; the first and the last to see a new day.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Beirut",
    "America/Santiago",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
)


def turns(at_ms: int, timezone: str) -> list[int]:
    """Return when the month and the day end, clocks change next, and that day ends."""
    month, day = (window_end(window, at_ms, timezone) for window in ("month", "day"))
    change = clocks_change(at_ms, timezone)
    around = [change, window_end("day", change, timezone)] if change else []
    return [turn for turn in (month, day, *around) if turn]


def instants_to_come(dice: Dice, now_ms: int, model: Model) -> list[int]:
    """Return deadlines and what else is due, expiries, horizons, or the ends of windows."""
    known = model.executions.values()
    due: list[int | None] = [model.next_due(), *(e.open.deadline for e in known if e.open)]
    horizons = [e.outcome.until for e in known if e.outcome]
    expiries = [grant.expires for grant in model.purse.grants]
    windows = [cap.window(model.moment).ends for cap in model.caps.by_name.values()]
    sorts: Sequence[Sequence[int | None]] = (
        due,
        due,
        due,
        due,
        expiries,
        expiries,
        horizons,
        windows if any(windows) else turns(now_ms, model.timezone),
    )
    return [at for at in dice.pick(sorts) if at and at > now_ms] or [now_ms + 1]
