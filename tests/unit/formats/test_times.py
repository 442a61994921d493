from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from runtime.formats.times import check_window, parse_instant, parse_zone

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text, instant",
    [
        ("2026-05-01", datetime(2026, 4, 30, 22, tzinfo=UTC)),
        ("2026-01-01", datetime(2025, 12, 31, 23, tzinfo=UTC)),
        ("2026-05-01T12:00:00Z", NOW),
        ("2026-05-01T14:00:00+02:00", NOW),
        ("2026-05-01 14:00+02:00", NOW),
    ],
)
def test_a_date_is_its_midnight_and_an_instant_has_an_offset(text: str, instant: datetime) -> None:
    assert parse_instant(text, BERLIN, "--from") == instant


@pytest.mark.parametrize(
    "text",
    ["", "today", "2026-05", "2026-02-30", "2026-05-01T12:00:00", "9999-12-31T23:59:59-23:00"],
)
def test_anything_else_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(ValueError, match=r"--at: found .* write a date like 2026-05-01"):
        parse_instant(text, BERLIN, "--at")


@pytest.mark.parametrize("name", ["", "Europe", "Mars/Olympus", "x" * 5_000, "../../etc/passwd"])
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    assert parse_zone("Europe/Berlin").key == "Europe/Berlin"
    with pytest.raises(ValueError, match="--tz: there is no time zone"):
        parse_zone(name)


def test_a_window_begins_before_its_end_and_before_now() -> None:
    hour = timedelta(hours=1)
    check_window(NOW - hour, NOW + hour, NOW, ("--from", "--to"))
    check_window(None, None, NOW, ("--from", "--to"))
    with pytest.raises(ValueError, match=r"--from: .* is in the future"):
        check_window(NOW + hour, None, NOW, ("--from", "--to"))
    for until in (NOW - hour, NOW - 2 * hour):
        with pytest.raises(ValueError, match=r"--to: .* is not after --from"):
            check_window(NOW - hour, until, NOW, ("--from", "--to"))
