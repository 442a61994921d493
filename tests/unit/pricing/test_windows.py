"""Days and months of a time zone, as instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.offers import windows_around

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "America/Havana",
)
MILLISECOND = timedelta(milliseconds=1)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - st.just gives the zone
    st.sampled_from(ZONES),
)
def test_windows_are_the_days_and_months_of_the_time_zone(instant: datetime, zone: str) -> None:
    def local(moment: datetime) -> date:
        return moment.astimezone(ZoneInfo(zone)).date()

    day, month = windows_around(instant, zone)

    assert day[0] <= instant < day[1] < day[2]
    assert local(day[0]) == local(day[1] - MILLISECOND) == local(instant)
    assert local(day[0] - MILLISECOND) < local(instant) < local(day[1])
    assert local(day[2] - MILLISECOND) == local(day[1])
    assert month[0] <= instant < month[1] < month[2]
    for begins, ends in (month[:2], month[1:]):
        last = local(ends - MILLISECOND)
        assert (local(begins).year, local(begins).month) == (last.year, last.month)
        assert local(begins).day == local(ends).day == 1


@pytest.mark.parametrize(
    "day, hours",
    [("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)],
)
def test_a_day_has_23_or_25_hours_where_clocks_change(day: str, hours: int) -> None:
    noon = datetime.fromisoformat(f"{day} 12:00").replace(tzinfo=ZoneInfo("Europe/Berlin"))

    (begins, ends, _), _ = windows_around(noon, "Europe/Berlin")

    assert ends - begins == timedelta(hours=hours)


def test_a_midnight_that_clocks_skip_is_the_instant_of_the_change() -> None:
    noon = datetime(2018, 11, 4, 15, tzinfo=UTC)

    (begins, _, _), _ = windows_around(noon, "America/Sao_Paulo")

    assert begins == datetime(2018, 11, 4, 3, tzinfo=UTC)
    assert begins.astimezone(ZoneInfo("America/Sao_Paulo")).hour == 1
