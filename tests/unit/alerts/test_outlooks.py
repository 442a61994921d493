"""When credits run out at a rate, grants that expire included."""

from __future__ import annotations

from pricing.offers import GrantKind
from runtime.alerts.outlooks import runs_out
from runtime.credits.results import GrantBalance

DAY_MS = 86_400_000
NOW_MS = 1_000 * DAY_MS


def grant(left_mc: int, expires_in_days: float | None = None, reserved_mc: int = 0) -> GrantBalance:
    expires_ms = None if expires_in_days is None else NOW_MS + int(expires_in_days * DAY_MS)
    return GrantBalance(
        *("g1", GrantKind.PROMOTIONAL, 1, expires_ms, 0, None),
        *(left_mc + reserved_mc, left_mc, reserved_mc, 0, 0, 0),
        reference="r",
    )


def days(*grants: GrantBalance, per_day_mc: int = 100) -> float | None:
    at_ms = runs_out(grants, per_day_mc, NOW_MS)
    return None if at_ms is None else (at_ms - NOW_MS) / DAY_MS


def test_credits_last_as_long_as_the_rate_says() -> None:
    assert days(grant(250)) == 2.5
    assert days(grant(200, reserved_mc=50)) == 2.5


def test_what_expires_before_it_is_used_does_not_last_longer() -> None:
    assert days(grant(1_000, expires_in_days=3)) == 3
    assert days(grant(1_000, expires_in_days=3), grant(200)) == 5
    assert days(grant(300), grant(100, expires_in_days=2)) == 3


def test_nobody_is_told_of_a_day_beyond_ten_years() -> None:
    assert days(grant(10**9), per_day_mc=1) is None
    assert days() == 0
