"""The benchmarks' frame: which there are, what they print, how they end. None is run here."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.__main__ import main
from tests.bench.catalog import BENCHMARKS
from tests.bench.registry import Benchmark, Measured
from tests.harness.paths import ROOT

DOCS = ROOT / "docs" / "benchmarks.md"


def benchmark(name: str, value: float, at_most: float | None = None) -> Benchmark:
    return Benchmark(name, "ratio", lambda: Measured(value, {"rounds": 5}), at_most=at_most)


def broken(name: str) -> Benchmark:
    def measure() -> Measured:
        sys.stdout.write("half a result")
        raise RuntimeError("no server")

    return Benchmark(name, "ratio", measure)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_benchmark_has_a_name_of_its_own_and_is_explained() -> None:
    names = [benchmark.name for benchmark in BENCHMARKS]
    assert len(set(names)) == len(names)
    explained = DOCS.read_text()
    assert [name for name in names if f"`{name}`" not in explained] == []


def test_the_promised_goals_are_the_ones_that_are_checked() -> None:
    goals = {b.name: (b.at_most, b.at_least) for b in BENCHMARKS if b.goal is not None}
    assert goals == {
        "direct_gate_tax": (0.2, None),
        "fair_latency_ratio": (2, None),
        "processes_cpu_ratio": (1.1, None),
        "gate_own_share": (0.06, None),
        "gate_tax": (1.15, None),
        "help_start": (8, None),
        "ledger_start": (0.5, None),
        "token_count_share": (0.05, None),
        "direct_campaign_ratio": (None, 4),
        "campaign_ratio": (None, 0.85),
        "http_ratio": (None, 0.8),
        "http_added_cpu": (0.25, None),
        "vs_litellm_proxy": (None, 8),
        "adaptive_reserved_ratio": (0.5, None),
        "truncated_answers": (0.005, None),
        "ledger_batching": (None, 5),
        "ledger_pairs": (None, 15_000),
        "ledger_lone_caller": (1.1, None),
        "ledger_flat_accounts": (1.5, None),
        "ledger_flat_reservations": (1.1, None),
        "ledger_flat_grants": (2, None),
        "ledger_script_p99_ms": (3, None),
        "ledger_memory": (450, None),
        "ledger_vs_postgres": (None, 2),
        "archive_rate_share": (None, 0.25),
        "usage_report_ms": (50, None),
        "calls_per_execution": (0.2, None),
    }


def test_each_benchmark_prints_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], [benchmark("first", 1.23456, at_most=2), benchmark("second", 7)]) == 0
    first, second = lines(capsys)
    assert list(first) == ["name", "value", "unit", "goal", "ok", "conditions"]
    assert (first["name"], first["value"], first["unit"]) == ("first", 1.235, "ratio")
    assert (first["goal"], first["ok"]) == (2, True)
    assert (second["goal"], second["ok"]) == (None, True)
    assert {"rounds", "python", "libraries", "cpu", "cores"} <= set(first["conditions"])


def test_a_missed_goal_fails_the_run_after_all_are_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([], [benchmark("first", 3, at_most=2), benchmark("second", 1, at_most=2)]) == 1
    assert [(line["name"], line["ok"]) for line in lines(capsys)] == [
        ("first", False),
        ("second", True),
    ]


def test_a_broken_benchmark_has_no_value_and_keeps_none_from_running(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([], [broken("first"), benchmark("second", 1)]) == 1
    first, second = lines(capsys)
    assert (first["value"], first["ok"]) == (None, False)
    assert first["conditions"]["error"] == "RuntimeError: no server"
    assert second["ok"]


def test_only_the_one_that_is_named_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "second"], [broken("first"), benchmark("second", 1)]) == 0
    assert [line["name"] for line in lines(capsys)] == ["second"]


def test_an_unknown_name_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--only", "third"], [benchmark("first", 1), benchmark("second", 1)])
    assert exit_info.value.code == 2
    assert "first" in capsys.readouterr().err


def test_an_interruption_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> Measured:
        raise KeyboardInterrupt

    benchmarks = [Benchmark("first", "ratio", interrupt), benchmark("second", 1)]
    assert main([], benchmarks) == 130
    assert lines(capsys) == []


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_goal_is_reached_on_its_own_side_and_exactly_at_it(goal: float, value: float) -> None:
    most = Benchmark("most", "ratio", lambda: Measured(value, {}), at_most=goal)
    least = Benchmark("least", "ratio", lambda: Measured(value, {}), at_least=goal)
    assert most.reached(goal)
    assert least.reached(goal)
    if value != goal:
        assert most.reached(value) is not least.reached(value)
