"""Real processes on one account, killed and started again at random: what holds all the same."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict

import pytest

from runtime.credits.journal import Kind, replay, verify
from runtime.credits.results import Existing, Reserved
from tests.harness.races import books, race
from tests.harness.races.course import MARKS, MONTHLY, PREVIEWS, execution_key
from tests.harness.races.race import Aftermath, Size

SMALL = Size(
    workers=4,
    executions=4_000,
    ttl_ms=1_000,
    top_up_mc=250_000,
    kills=5,
    freezes=1,
    timeout_ms=700,
)
ON_A_DYING_REDIS = Size(
    workers=2, executions=800, ttl_ms=1_000, top_up_mc=70_000, kills=1, deaths=2
)
AGAINST_SWEEPERS = Size(
    workers=2,
    executions=800,
    ttl_ms=1_000,
    top_up_mc=70_000,
    kills=0,
    sweepers=2,
    hasty=0.7,
)
LARGE = Size(
    workers=8,
    executions=100_000,
    ttl_ms=3_000,
    top_up_mc=1_500_000,
    kills=48,
    operators=3,
    freezes=3,
)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SMALL, id="small"),
        pytest.param(ON_A_DYING_REDIS, id="on-a-dying-redis"),
        pytest.param(AGAINST_SWEEPERS, id="against-sweepers"),
        pytest.param(LARGE, id="large", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def aftermath(
    request: pytest.FixtureRequest,
    redis_server_program: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Aftermath:
    """What a race left behind. It is run once, and each promise is then looked at."""
    return asyncio.run(race.run(request.param, tmp_path_factory.mktemp("race")))


def test_law_1a_at_no_moment_is_more_charged_and_reserved_than_granted(
    aftermath: Aftermath,
) -> None:
    watcher, balance = aftermath.watcher, aftermath.balance

    assert watcher.wrong == []
    assert watcher.looks > 20
    assert watcher.most_reserved_mc > 0
    assert balance.conserved
    assert balance.charged_mc + balance.reserved_mc <= balance.granted_mc
    assert balance.charged_mc > 0
    if aftermath.size.deaths:
        return  # too few may be answered to use the credits up
    assert min(balance.expired_mc, balance.voided_mc) > 0
    assert len(balance.grants) > 6, "credits never ran out"


def test_law_1a_caps_are_exceeded_by_bills_above_their_reservations_alone(
    aftermath: Aftermath,
) -> None:
    entries = aftermath.entries
    for cap, excess_mc in aftermath.watcher.excess_mc.items():
        assert excess_mc <= books.charged_above_reservations_mc(cap, entries), cap
    if aftermath.size.deaths:
        return  # too few may be answered to reach a limit
    (previews,) = [status for status in aftermath.caps if status.cap == PREVIEWS]

    refusals = Counter(told[0] for _, _, *told in aftermath.log("acknowledged") if told)
    assert refusals["cap_reached"] > 0
    # What was reserved near the limit and came home later leaves a little of it unused.
    assert previews.charged_mc > 0.9 * previews.limit_mc


def test_law_3a_a_reservation_ends_once(aftermath: Aftermath) -> None:
    ends = books.ends(aftermath.entries)
    # Another reservation can have been made in the same millisecond only after the first ended.
    twice = {
        reservation: entries
        for reservation, entries in ends.items()
        if any(entry.at_ms != reservation[1] for entry in entries[:-1])
    }
    assert twice == {}

    heard = {
        (execution_key(number), reserved_at_ms, amount_mc)
        for number, reserved_at_ms, amount_mc in aftermath.log("reserved")
        if amount_mc
    }
    ended = {
        (*reservation, sum(entry.slices.values())): entry.kind
        for reservation, entries in ends.items()
        for entry in entries
    }
    assert heard <= ended.keys()
    # Who died or was cancelled before it heard of its reservation did not settle it.
    unheard = {ended[reservation] for reservation in ended.keys() - heard}
    assert unheard <= {Kind.RELEASED, Kind.EXPIRED}

    late = [
        entry
        for entry in books.settlements(aftermath.entries)
        if {"late", "orphan"} & set(entry.flags)
    ]
    assert [entry for entry in late if entry.slices] == []
    won = Counter(entry.kind for entries in ends.values() for entry in entries)
    assert min(len(late), won[Kind.SETTLED], won[Kind.EXPIRED], won[Kind.RELEASED]) > 0
    if aftermath.size.hasty > 0.5:
        often = aftermath.size.executions // 20
        assert min(len(late), won[Kind.SETTLED], won[Kind.EXPIRED]) > often
        superseded = [entry for entry in aftermath.entries if "superseded" in entry.flags]
        assert len(superseded) > 0


def test_law_3a_what_the_dead_had_reserved_is_home_after_one_deadline(
    aftermath: Aftermath,
) -> None:
    assert aftermath.kills >= aftermath.size.kills
    assert aftermath.deserted.reserved_mc > 0
    at_deadline, balance = aftermath.at_deadline, aftermath.balance
    assert (at_deadline.reserved_mc, at_deadline.open_reservations) == (0, 0)
    assert (balance.reserved_mc, balance.open_reservations) == (0, 0)
    assert aftermath.open_states <= {"x"}


def test_law_3b_no_id_is_charged_twice(aftermath: Aftermath) -> None:
    settled = list(books.settlements(aftermath.entries))
    times = Counter(entry.execution_key for entry in settled)
    charges = {entry.execution_key: books.charged_mc(entry) for entry in settled}
    stored = {
        execution: charged_mc
        for execution, (state, charged_mc, _) in aftermath.outcomes.items()
        if state == "settled"
    }

    assert [execution for execution, count in times.items() if count > 1] == []
    assert charges == stored
    assert sum(stored.values()) == aftermath.balance.charged_mc
    assert len(settled) > aftermath.course.executions // 4


def test_law_3b_everybody_who_asks_is_told_the_same_outcome(aftermath: Aftermath) -> None:
    outcomes = aftermath.outcomes
    answered: set[int] = set()
    known: set[str] = set()
    for number, state, *told in aftermath.log("acknowledged"):
        answered.add(number)
        if state in {"settled", "released", "refused"}:
            assert outcomes[execution_key(number)] == (state, *told), number
        if (state, *told) == ("spooled", "Settlement"):
            assert execution_key(number) in outcomes, number
        if state not in {"fell back", "delivered again"}:
            known.add(execution_key(number))
    assert answered >= set(range(aftermath.course.executions))

    # A worker that died asked again when its reservation had expired, and was refused; then what
    # it had sent before arrived. The deserter's settlements were heard of by nobody.
    course = aftermath.course
    known |= {execution_key(number) for number in course.delivered_to(course.workers)}
    for entry in books.settlements(aftermath.entries):
        assert entry.execution_key in known or {"late", "orphan"} & set(entry.flags), entry


def test_law_3b_asking_again_for_what_is_settled_charges_nothing(aftermath: Aftermath) -> None:
    outcomes = aftermath.outcomes
    existing = 0
    for number, answer in aftermath.asked_again.items():
        if execution_key(number) in outcomes:
            assert isinstance(answer, Existing), answer
            told = (answer.state, answer.charged_mc, answer.outcome.decode())
            assert told == outcomes[execution_key(number)]
            existing += 1
        else:
            assert isinstance(answer, Reserved), answer
    then = aftermath.balance_then

    assert existing > len(aftermath.asked_again) // 4
    assert then.charged_mc == aftermath.balance.charged_mc
    assert then.reserved_mc == 0


def test_law_3b_what_was_spooled_is_in_the_ledger_once(aftermath: Aftermath) -> None:
    assert (aftermath.replay.left, aftermath.replay.dead) == (0, 0)
    assert aftermath.course.open_spool().waiting() == 0
    assert sum(state == "spooled" for _, state, *_ in aftermath.log("acknowledged")) > 0


def test_law_3d_a_reference_changes_the_account_once_whoever_uses_it(
    aftermath: Aftermath,
) -> None:
    changed = books.references(aftermath.entries)
    first, answers = Counter[str](), defaultdict[str, set[str]](set)
    used = Counter[str]()
    for reference, new, answer in aftermath.log("operations"):
        used[reference] += 1
        first[reference] += new
        answers[reference].add(str(answer))

    assert set(changed.values()) == {1}
    assert used.keys() <= changed.keys()
    assert max(first.values()) == 1
    # Nobody may have told of it: who changed something may have died of it.
    assert sum(first.values()) >= len(used) - aftermath.kills
    assert {len(told) for told in answers.values()} == {1}
    assert sum(count > 1 for count in used.values()) > 0
    grants = [grant.reference for grant in aftermath.balance.grants]
    assert len(grants) == len(set(grants))


def test_law_2a_and_2c_the_journal_is_whole_and_adds_up_to_the_balance_and_to_the_caps(
    aftermath: Aftermath,
) -> None:
    entries, balance = aftermath.entries, aftermath.balance
    verify(entries)
    rebuilt = replay(entries)

    assert len(entries) == balance.journal_seq
    assert {name: (grant.amount_mc, grant.parts_mc) for name, grant in rebuilt.grants.items()} == {
        grant.grant_id: (grant.amount_mc, books.parts_of(grant)) for grant in balance.grants
    }
    assert (rebuilt.overage_mc, rebuilt.exposure_mc) == (balance.overage_mc, balance.exposure_mc)
    for status in aftermath.caps:
        least_mc, most_mc = books.cap_charges_mc(status.cap, entries, balance.at_ms)
        assert least_mc <= status.charged_mc <= most_mc, status
        assert status.reserved_mc == 0, status
        # Of these nothing was reserved before they were made; and a race is rarely at midnight.
        if status.cap in {MONTHLY, PREVIEWS}:
            assert status.cap is MONTHLY or least_mc == most_mc


def test_law_12b_each_crossing_of_a_mark_is_told_once(aftermath: Aftermath) -> None:
    expected = books.Marks()
    expected.read(aftermath.entries)
    told: dict[str, list[int]] = defaultdict(list)
    for mark, threshold_mc, left_mc in aftermath.told:
        told[mark].append(threshold_mc)
        assert left_mc <= threshold_mc
    heard = Counter(
        tuple(alert)
        for role in ("worker", "operations", "sweeper")
        for alert in aftermath.log(f"alerts-{role}")
    )

    assert told == expected.told
    assert heard <= Counter(aftermath.told)
    if not aftermath.size.deaths:  # else too few may be answered to use the credits up
        assert told.keys() == {*MARKS, "exhausted"}


def test_nobody_met_damage_or_an_error(aftermath: Aftermath) -> None:
    assert aftermath.complaints == []
