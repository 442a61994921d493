"""Who pays in a load, and what they begin with."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from runtime.config import parse_config
from runtime.load.histogram import Histogram
from runtime.load.settings import LoadRefused, LoadSettings, Scenario, Span
from runtime.load.tally import Outcome, Tally
from runtime.load.workload import Workload, config_of, expected_mc, first_grants_mc


def test_accounts_have_shares_by_zipfs_law() -> None:
    shares = LoadSettings(rate=1, accounts=4, skew=1).shares()
    assert sum(shares) == pytest.approx(1)
    assert [share / shares[0] for share in shares] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert LoadSettings(rate=1, accounts=4, skew=0).shares() == [0.25] * 4


def test_executions_are_drawn_by_these_shares_and_the_seed_repeats_them() -> None:
    settings = LoadSettings(rate=1, accounts=3, skew=1, run_id="unit", prompt_tokens=Span(60, 90))
    requests = [Workload(settings).next() for _ in range(1)]
    workload = Workload(settings)
    drawn = [workload.next() for _ in range(2_000)]
    assert drawn[0] == requests[0]
    counts = Counter(request.account_id for request in drawn)
    assert counts["load-unit-0"] > counts["load-unit-1"] > counts["load-unit-2"] > 200
    assert len({request.execution_id for request in drawn}) == 2_000
    lengths = {len(str(request.data["customer"]["message"]).split()) for request in drawn}
    assert lengths == set(range(45, 76)), "the prompt's own 15 tokens come on top"
    assert Workload(settings, process=1).next().execution_id != drawn[0].execution_id


def test_a_service_s_action_gets_every_attribute_that_it_reads() -> None:
    settings = LoadSettings(rate=1, action="theirs")
    workload = Workload(settings, attributes=("customer.name", "event.text"))
    request = workload.next()
    assert request.action == "theirs"
    assert request.data["customer"].keys() == {"name"}
    assert request.data["event"].keys() == {"text"}


def test_run_dry_pays_for_half_of_what_each_account_is_to_do() -> None:
    settings = LoadSettings(rate=10, seconds=100, accounts=3, scenario=Scenario.RUN_DRY)
    grants = first_grants_mc(settings)
    assert sum(grants) == pytest.approx(1_000 * expected_mc(settings) / 2, rel=0.01)
    assert grants[0] > grants[1] > grants[2]
    own = LoadSettings(rate=10, accounts=2, scenario=Scenario.TOP_UP, credits_mc=5_000)
    assert first_grants_mc(own) == [5_000, 5_000]
    with pytest.raises(LoadRefused, match="say with --credits"):
        LoadSettings(concurrency=10, scenario=Scenario.RUN_DRY)


def test_the_config_of_a_load_is_sound_and_knows_one_endpoint_the_mock_provider() -> None:
    for answers in (Span(10, 10), Span(30, 90), Span(10, 5_000)):
        settings = LoadSettings(rate=1, answer_tokens=answers)
        text = json.dumps(config_of(settings, "http://127.0.0.1:1", "load-unit"))
        config = parse_config(text)
        assert {one.api_base for one in config.endpoints.values()} == {"http://127.0.0.1:1/v1"}
        assert config.redis.key_prefix == "load-unit"
        assert config.offers == {}


def test_settings_are_the_same_after_a_journey_as_json() -> None:
    settings = LoadSettings(concurrency=4, processes=2, scenario=Scenario.TOP_UP, credits_mc=1_000)
    assert LoadSettings.of_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_percentiles_of_added_up_histograms_are_right_to_one_in_a_hundred() -> None:
    whole = Histogram()
    for part in range(4):
        latencies = Histogram()
        for value in range(part, 10_000, 4):
            latencies.add(value + 1)
        whole.merge(Histogram.of_json(json.loads(json.dumps(latencies.to_json()))))
    found = whole.percentiles([0.5, 0.95, 0.99, 0.999, 1])
    assert found == pytest.approx([5_000, 9_500, 9_900, 9_990, 10_000], rel=0.0101)
    assert Histogram().percentiles([0.5]) == [None]


def test_a_tally_is_the_same_after_a_journey_as_json() -> None:
    tally = Tally()
    tally.start(3)
    tally.end(Outcome("fallback", 0, frozenset({"cap_reached"})), 12)
    again = Tally.of_json(json.loads(json.dumps(tally.to_json())))
    assert again.to_json() == tally.to_json()
    again.merge(tally)
    assert (again.started, again.ended, again.reasons["cap_reached"]) == (2, 2, 2)
