"""The reference model is the second opinion; here its own subtle rules are checked."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from itertools import permutations

import pytest

from tests.harness.model import CapName, Identity, Model, Rules
from tests.harness.model.calendar import HOUR_MS, window_end
from tests.harness.model.references import Answer

HORIZON_MS, COOLDOWN_MS = 4_000, 1_000
DAY_MS = 24 * 3_600_000
NOON = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()) * 1000
JOB = Identity("retail", "welcome", "route", "person-1", "live")


def account(*grants: int, marks: tuple[str, ...] = ("p20",), clock: int = NOON) -> Model:
    """An account with grants that never expire."""
    rules = Rules(HORIZON_MS, {"growth": True, "trial": False}, marks, cooldown=COOLDOWN_MS)
    model = Model(rules, clock=clock, plan="growth")
    for number, amount in enumerate(grants):
        grant(model, amount, reference=f"first-{number}")
    return model


def grant(
    model: Model, amount: int, *, reference: str, priority: int = 20, expires: int | None = None
) -> None:
    model.script(lambda: model.grant(reference, "promotional", amount, priority, expires))


def reserve(model: Model, name: str, amount: int, *, attempt: str = "a", ttl: int = 100) -> Answer:
    return model.script(lambda: model.reserve(name, attempt, JOB, amount, ttl))[0]


def settle(model: Model, name: str, cost: int, *, attempt: str = "a", at: int = NOON) -> Answer:
    return model.script(lambda: model.settle(name, attempt, JOB, cost, cost, at))[0]


def spend(model: Model, amount: int) -> None:
    name = f"spend-{len(model.executions)}"
    reserve(model, name, amount)
    settle(model, name, amount, at=model.now)


def parts(model: Model) -> list[dict[str, int]]:
    """What is not zero of each grant."""
    names = ("available", "reserved", "charged", "expired", "voided")
    return [{n: v for n in names if (v := getattr(g, n))} for g in model.purse.grants]


def marks(model: Model) -> list[tuple[str, int]]:
    """Alerts told so far, each with what was left."""
    return [(mark, left) for mark, _, left, _ in model.alerts]


def test_law_10a_the_same_grants_in_any_order_are_burned_alike() -> None:
    terms = [(20, None), (20, NOON + 500), (20, NOON + 900), (10, None), (30, NOON + 100)]
    for order in permutations(terms):
        model = account()
        for number, (priority, expires) in enumerate(order):
            grant(model, 100, reference=f"g{number}", priority=priority, expires=expires)

        reserve(model, "job", 250)

        assert {(g.priority, g.expires): g.reserved for g in model.purse.grants} == {
            (10, None): 100,
            (20, NOON + 500): 100,
            (20, NOON + 900): 50,
            (20, None): 0,
            (30, NOON + 100): 0,
        }


@pytest.mark.parametrize(
    "voided_at, home",
    [(NOON + 40, {"voided": 30}), (NOON + 50, {"expired": 30}), (NOON + 60, {"expired": 30})],
)
def test_law_9a_and_13a_what_comes_home_goes_to_whatever_ended_the_grant_first(
    voided_at: int, home: dict[str, int]
) -> None:
    model = account()
    grant(model, 100, reference="gift", expires=NOON + 50)
    reserve(model, "job", 100)
    model.clock = voided_at
    model.script(lambda: model.void("void", "g1"))
    model.clock = NOON + 70

    answer = settle(model, "job", 70)

    assert answer[:3] == ("settled", 70, 0)
    assert parts(model) == [{"charged": 70, **home}]


def test_law_3a_who_comes_second_learns_how_it_ended() -> None:
    model = account(100)
    reserve(model, "job", 60)
    model.clock += 100  # its time is over
    reserve(model, "job", 60, attempt="b")

    assert settle(model, "job", 50)[:3] == ("settled", 50, 0)
    assert settle(model, "job", 55, attempt="b")[:4] == ("existing", "settled", 50, 0)
    assert parts(model) == [{"available": 50, "charged": 50}]
    assert model.exposure == 55


def test_law_3b_a_late_settlement_is_paid_by_what_is_there_now() -> None:
    model = account(100)
    reserve(model, "job", 80)
    model.clock += 100
    reserve(model, "other", 70)

    answer = settle(model, "job", 80)

    assert answer == ("settled", 30, 50, 0, {"late"})
    assert parts(model) == [{"reserved": 70, "charged": 30}]


def test_law_8a_one_visit_leaves_what_many_would() -> None:
    def visited(instants: list[int]) -> Model:
        model = account(100)
        grant(model, 100, reference="gift", priority=10, expires=NOON + 150)
        reserve(model, "one", 80, ttl=100)
        reserve(model, "two", 90, ttl=200)
        for at in instants:
            model.clock = at
            model.script()
        return model

    often = visited(list(range(NOON, NOON + 5_000, 50)))
    once = visited([NOON + 4_950])

    assert parts(often) == parts(once) == [{"available": 100}, {"expired": 100}]
    assert often.records == once.records == 0


def test_law_8a_reading_ends_nothing() -> None:
    model = account(100)
    reserve(model, "job", 80)
    model.clock += 100

    assert parts(model.look()) == [{"available": 100}]
    assert parts(model) == [{"available": 20, "reserved": 80}]


def test_law_8a_a_clock_that_goes_back_does_not_turn_time_back() -> None:
    model = account(100)
    model.clock += 500
    reserve(model, "job", 80)
    model.clock -= 400

    assert reserve(model, "job", 80)[3:] == (NOON + 500, 100)


DAILY, TOTAL = CapName("day"), CapName("total", workspace_id="retail")


def capped(**limits: int) -> Model:
    model = account(10_000, clock=NOON + DAY_MS // 2 - 50)  # the day and the month end in 50 ms
    names = {"daily": DAILY, "total": TOTAL}
    for name, limit in limits.items():
        cap = names[name]
        model.script(partial(model.set_cap, f"cap {cap}", cap, limit, 0))
    return model


def counted(model: Model, name: CapName) -> tuple[int, int]:
    """What the cap's current window holds as charged and as reserved."""
    _, _, charged, reserved, _ = model.caps.by_name[name].status(model.moment)
    return charged, reserved


def test_law_1b_what_is_reserved_today_is_charged_today_whenever_it_ends() -> None:
    model = capped(daily=100, total=1_000)
    reserve(model, "job", 100)
    model.clock += 60  # tomorrow

    assert reserve(model, "other", 100)[0] == "reserved"
    settle(model, "job", 70, at=model.now)

    assert counted(model, DAILY) == (0, 100)
    assert counted(model, TOTAL) == (70, 100)


def test_law_1b_a_late_settlement_still_counts_where_it_was_reserved() -> None:
    model = capped(daily=100)
    reserve(model, "job", 100, ttl=10)
    model.clock += 60
    reserve(model, "other", 1)
    settle(model, "job", 70, at=model.now)
    assert counted(model, DAILY) == (0, 1)

    settle(model, "orphan", 30, at=model.now)

    assert counted(model, DAILY) == (30, 1)


def test_law_1b_an_attempt_before_the_last_one_counts_in_the_windows_that_it_noted() -> None:
    model = capped(daily=1_000, total=1_000)
    reserve(model, "job", 100, ttl=10)
    model.clock += 60
    reserve(model, "job", 200, attempt="b")

    settle(model, "job", 70, at=model.now)

    assert counted(model, DAILY) == (0, 0), "it was of the day before"
    assert counted(model, TOTAL) == (70, 0)


def test_law_1b_a_cap_that_was_removed_begins_anew_and_forgets_who_runs() -> None:
    model = capped(total=100)
    reserve(model, "job", 100)
    model.script(lambda: model.remove_cap("away", TOTAL))
    model.script(lambda: model.set_cap("again", TOTAL, 100, 30))

    settle(model, "job", 100, at=model.now)

    assert counted(model, TOTAL) == (30, 0)


def test_law_1b_and_12a_the_refusal_that_lasts_is_reported_before_one_that_passes() -> None:
    model = capped(daily=100, total=100)
    reserve(model, "job", 60)
    may_clear = reserve(model, "other", 50)
    model.script(lambda: model.set_cap("lower", TOTAL, 40, 0))
    lasting = reserve(model, "other", 50)

    assert may_clear[4:] == ((DAILY, 100, 0, 60, 50), True)
    assert lasting[4:] == ((TOTAL, 40, 0, 60, None), False)


@pytest.mark.parametrize(
    "window, at, end",
    [
        ("day", datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        ("day", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)),
        ("month", datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        ("month", datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        ("month", datetime(2028, 12, 31, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)),
    ],
)
def test_law_1b_windows_are_of_utc(window: str, at: datetime, end: datetime) -> None:
    assert window_end(window, int(at.timestamp()) * 1000) == int(end.timestamp()) * 1000


@pytest.mark.parametrize(
    "timezone, noon, hours",
    [
        ("Europe/Berlin", datetime(2096, 3, 25, 12, tzinfo=UTC), 23),
        ("Europe/Berlin", datetime(2096, 10, 28, 12, tzinfo=UTC), 25),
        ("Australia/Lord_Howe", datetime(2096, 4, 1, 3, tzinfo=UTC), 24.5),
        ("Antarctica/Troll", datetime(2096, 10, 28, 12, tzinfo=UTC), 26),
        ("Asia/Kathmandu", datetime(2096, 3, 25, 12, tzinfo=UTC), 24),
    ],
)
def test_law_1b_a_day_is_as_long_as_its_clocks_make_it(
    timezone: str, noon: datetime, hours: float
) -> None:
    ends = window_end("day", int(noon.timestamp()) * 1000, timezone)
    assert ends

    begins = window_end("day", ends - 36 * HOUR_MS, timezone)

    assert begins == ends - hours * HOUR_MS


def test_law_1b_a_changed_time_zone_takes_effect_with_the_next_window() -> None:
    model = capped(daily=100)
    utc_ends = window_end("day", model.now)
    assert utc_ends
    model.script(lambda: model.change_timezone("moved", "Asia/Kathmandu"))

    model.clock = utc_ends - 1
    reserve(model, "job", 60, ttl=100_000)
    (before,) = (cap.status(model.moment) for cap in model.caps.by_name.values())
    model.clock += 1
    reserve(model, "other", 70, ttl=100_000)
    (after,) = (cap.status(model.moment) for cap in model.caps.by_name.values())

    assert before == (DAILY, 100, 0, 60, 1)
    # In Kathmandu it is a quarter to six.
    assert after == (DAILY, 100, 0, 70, 18.25 * HOUR_MS)


def test_law_12b_a_mark_is_told_when_it_is_reached_exactly_and_once() -> None:
    model = account(1_000)
    spend(model, 799)
    assert marks(model) == []

    spend(model, 1)
    spend(model, 1)

    assert marks(model) == [("p20", 200)]


def test_law_12b_a_crossing_within_the_cool_down_is_told_when_that_is_over() -> None:
    model = account(1_000)
    spend(model, 900)
    grant(model, 900, reference="top-up")
    spend(model, 850)
    assert marks(model) == [("p20", 100)], "the second crossing waits"

    spend(model, 50)
    model.clock += COOLDOWN_MS - 1
    model.script()
    assert marks(model) == [("p20", 100)]

    model.clock += 1
    model.script()

    assert marks(model) == [("p20", 100), ("p20", 100)]
    assert model.alerts[-1] == ("p20", 200, 100, NOON + COOLDOWN_MS)


def test_law_12b_a_grant_takes_a_waiting_alert_back() -> None:
    model = account(1_000)
    spend(model, 900)
    grant(model, 900, reference="top-up")
    spend(model, 850)
    grant(model, 500, reference="in time")
    model.clock += COOLDOWN_MS
    model.script()

    assert marks(model) == [("p20", 100)]


def test_law_12b_dust_is_exhaustion_once_a_refusal_about_it_is_concluded() -> None:
    model = account(1_000, marks=())
    spend(model, 991)
    reserve(model, "job", 50)
    assert marks(model) == []

    model.script(lambda: model.conclude("job", "a", JOB, "execution_too_large"))
    model.script(lambda: model.conclude("other", "a", JOB, "insufficient_credits"))

    assert model.alerts == [("exhausted", 10, 9, NOON)]


def test_law_12b_nothing_is_told_of_an_account_that_was_closed() -> None:
    model = account(1_000)
    reserve(model, "job", 900)
    model.script(lambda: model.close("bye"))
    settle(model, "job", 900)

    assert marks(model) == []
    assert parts(model) == [{"charged": 900, "voided": 100}]


def test_law_5a_a_plan_without_credits_stops_new_reservations_and_no_open_one() -> None:
    model = account(100)
    reserve(model, "job", 60)
    model.script(lambda: model.change_plan("down", "trial"))

    assert reserve(model, "other", 10)[:2] == ("refused", "plan_not_eligible")
    assert settle(model, "job", 60)[:2] == ("settled", 60)

    model.script(lambda: model.change_plan("up", "growth"))
    assert reserve(model, "other", 40)[0] == "reserved"
