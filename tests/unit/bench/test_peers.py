"""What the peers' figures are made of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import pytest

from tests.peers.accounting import Books, Calls, Ended, Kind, columns, read_log
from tests.peers.callers import Callers
from tests.peers.catalog import SYSTEMS
from tests.peers.environments import CONFIGURATIONS
from tests.peers.report import written
from tests.peers.runs import Run
from tests.peers.scenario import FAULT_RATE, Plan, call_id_of, completion, fault_of

_NO_BOOKS = (Books(), Books())


def _log(*requests: tuple[str | None, int, int]) -> list[str]:
    return [
        json.dumps({"at": 0, "call": call, "status": status, "tokens": tokens})
        for call, status, tokens in requests
    ]


def _calls(**ended: Ended) -> Calls:
    calls = Calls(ended=dict(ended))
    calls.answered_s = [0.5 * (1 + n) for n in range(len(calls.of(Kind.ANSWERED)))]
    return calls


def test_the_log_counts_answers_by_call_and_faults() -> None:
    log = read_log(
        _log(("a", 200, 10), ("a", 200, 11), ("b", 503, 0), ("b", 200, 5), (None, 400, 0))
    )

    assert log.answers == {"a": [10, 11], "b": [5]}
    assert log.faults == Counter(b=1)
    assert (log.requests, log.tokens, log.repeated) == (5, 26, {"a": 11})


def test_an_answer_to_no_call_is_no_log() -> None:
    with pytest.raises(ValueError, match="no call"):
        read_log(_log((None, 200, 10)))


def test_what_the_provider_was_used_for_is_what_counts_as_spent() -> None:
    log = read_log(_log(("a", 200, 60), ("a", 200, 60), ("b", 200, 50)))
    calls = _calls(a=Ended(Kind.ANSWERED, 60), b=Ended(Kind.ANSWERED, 50))

    line = columns(100, log, calls, _NO_BOOKS, marked=2, cpu_s=0.004)

    assert (line.spent_beyond, line.not_delivered) == (70, 60)
    assert (line.calls_a_second, line.cpu_ms) == (2.0, 2.0)
    assert (line.held, line.charged_twice, line.failed_charged) == (None, None, None)


def test_a_counter_holds_what_no_answer_accounts_for() -> None:
    log = read_log(_log(("a", 200, 60), ("b", 500, 0)))
    calls = _calls(a=Ended(Kind.ANSWERED, 60), b=Ended(Kind.FAILED), c=Ended(Kind.REFUSED))

    line = columns(100, log, calls, (Books(counted=95), Books(counted=60)), marked=1, cpu_s=0.0)

    assert (line.held, line.held_later, line.left_over) == (35, 0, 40)


def test_answers_that_a_counter_lacks_are_not_counted() -> None:
    calls = _calls(a=Ended(Kind.ANSWERED, 60))
    books = Books(counted=20)

    line = columns(100, read_log(_log(("a", 200, 60))), calls, (books, books), marked=1, cpu_s=0.0)

    assert (line.held, line.not_counted) == (0, 40)


def test_books_by_call_tell_double_charges_and_charges_for_failed_calls() -> None:
    log = read_log(_log(("a", 200, 60), ("b", 500, 0)))
    calls = _calls(a=Ended(Kind.ANSWERED, 60), b=Ended(Kind.FAILED))
    books = Books(counted=127, held=0, charges={"a": [60, 60], "b": [7]})

    line = columns(200, log, calls, (books, books), marked=1, cpu_s=0.0)

    assert (line.charged_twice, line.failed_charged, line.held) == (1, 7, 0)
    assert line.left_over is None


def test_the_budget_pays_for_half_of_the_calls() -> None:
    plan = Plan(20)

    assert 20 * 140 // 2 < plan.budget < 20 * 220 // 2
    assert call_id_of(completion(plan.ids[7])["messages"]) == plan.ids[7]


def test_two_per_cent_meet_a_fault_and_only_at_first() -> None:
    ids = Plan(5_000).ids

    faults = [call_id for call_id in ids if fault_of(call_id, visit=1)]

    assert 0.8 < len(faults) / (len(ids) * FAULT_RATE) < 1.2
    assert not any(fault_of(call_id, visit=2) for call_id in faults)


class _Scripted:
    """Answers as it is told, with no server behind it."""

    urls = ("http://first", "http://second")
    path = "/"
    headers: Mapping[str, str] = MappingProxyType({})
    programs = ()


async def test_callers_send_cut_calls_again_and_kill_once(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    sent: Counter[str] = Counter()

    async def send(self: Callers, session: object, call_id: str) -> Ended:
        sent[call_id] += 1
        if killed and sent[call_id] == 1 and call_id.endswith("5"):
            return Ended(Kind.CUT)
        return Ended(Kind.ANSWERED, 1)

    monkeypatch.setattr(Callers, "_send", send)
    plan = Plan(400)
    callers = Callers(_Scripted(), plan, lambda: killed.append(1), lambda: None)  # type: ignore[arg-type]

    calls = await callers.run()

    assert killed == [1]
    assert sorted(calls.ended) == plan.ids
    assert calls.cut.keys() == {call_id for call_id, times in sent.items() if times == 2}
    assert calls.cut
    assert calls.cut_settled_s is not None


def test_the_page_says_what_did_not_start_and_where_others_are_better() -> None:
    log = read_log(_log(("a", 200, 60)))
    calls = _calls(a=Ended(Kind.ANSWERED, 60), b=Ended(Kind.REFUSED))
    slow = columns(100, log, calls, _NO_BOOKS, marked=1, cpu_s=0.01)
    quick = columns(100, log, calls, _NO_BOOKS, marked=1, cpu_s=0.001)
    own, first, second, *_ = SYSTEMS
    runs = [
        Run(own, {}, slow, slow),
        Run(first, {"it": "1.0"}, quick, quick),
        Run(second, failed="no such package"),
    ]
    conditions = {"cores": 2, "cpu": "x", "system": "y", "python": "3", "load_average": 0.1}

    page = written(runs, 2, conditions, "others worked beside it")

    assert "did not start: no such package" in page
    assert f"- {first.title}, CPU a call, ms: 1, creditgate 10" in page
    assert "others worked beside it" in page


def test_each_system_has_its_configuration_committed() -> None:
    for system in SYSTEMS:
        for name in system.configuration:
            assert (CONFIGURATIONS / name).is_file()
