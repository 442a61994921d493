"""Whether the sections of a config fit each other, and what is only worth a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.configs import NOW, changed, load, mistakes_in, only_mistake, right

LATER = {"version": "later", "effective_from": "2027-01-01", "rates": {}}
EARLIER = {"version": "earlier", "effective_from": "2020-01-01", "rates": {}}


def with_limits(**limits: Any) -> dict[str, Any]:
    return changed("actions.greet.limits", {"max_output_tokens": 100, **limits})


def warnings_of(data: dict[str, Any]) -> list[tuple[str, str]]:
    return [(warning.path, warning.message) for warning in load(data).warnings]


def with_successor(**writer: Any) -> dict[str, Any]:
    """Return a config whose model ``writer`` may be replaced by ``heir``."""
    data = right()
    data["models"]["heir"] = {**data["models"]["writer"]}
    data["models"]["writer"] |= {"replaced_by": "heir", **writer}
    return data


@given(
    ttl_ms=st.integers(1, 10_000),
    deadline_ms=st.integers(1, 10_000),
    timeout_ms=st.integers(10, 10_000),
)
def test_a_reservation_outlasts_the_deadline_and_the_time_to_settle(
    ttl_ms: int, deadline_ms: int, timeout_ms: int
) -> None:
    data = with_limits(deadline_ms=deadline_ms)
    data["executions"] = {"reservation_ttl_ms": ttl_ms}
    data["redis"] = {"timeout_ms": timeout_ms}
    if ttl_ms > deadline_ms + timeout_ms:
        assert load(data).actions["greet"].limits.deadline_ms == deadline_ms
    else:
        mistake = only_mistake(data)
        assert mistake.path == "actions.greet.limits.deadline_ms"
        assert f"{ttl_ms:,} ms" in mistake.message


@pytest.mark.parametrize("a_minute, fits", [(101, True), (100, False)])
def test_an_answer_fits_into_the_tokens_of_a_minute(a_minute: int, fits: bool) -> None:
    data = with_limits()
    data["endpoints"]["mock"]["tokens_per_minute"] = a_minute
    if fits:
        assert load(data).warnings == ()
    else:
        mistake = only_mistake(data)
        assert mistake.path == "actions.greet.limits.max_output_tokens"
        assert "tokens_per_minute of endpoint 'mock', 100" in mistake.message


def test_a_breaker_does_not_stay_open_for_longer_than_its_longest_time() -> None:
    data = right()
    data["endpoints"]["mock"]["breaker"] = {"open_ms": 5_000, "max_open_ms": 4_999}
    mistake = only_mistake(data)
    assert mistake.path == "endpoints.mock.breaker"
    assert "max_open_ms, 4,999, must not be below open_ms, 5,000" in mistake.message


@given(attempts=st.integers(1, 10), each_ms=st.integers(1, 5_000), spare_ms=st.integers(-5, 5))
def test_all_attempts_fit_into_the_deadline(attempts: int, each_ms: int, spare_ms: int) -> None:
    deadline_ms = max(each_ms, attempts * each_ms + spare_ms)
    data = with_limits(attempts=attempts, attempt_timeout_ms=each_ms, deadline_ms=deadline_ms)
    if attempts * each_ms <= deadline_ms:
        assert load(data).actions["greet"].limits.attempts == attempts
    else:
        assert only_mistake(data).path == "actions.greet.limits.attempt_timeout_ms"


def test_outcomes_outlive_the_oldest_settlement_on_disk_and_a_reservation() -> None:
    data = changed("executions", {"outcome_ttl_hours": 24, "spool_max_age_hours": 24})
    assert only_mistake(data).path == "executions.outcome_ttl_hours"
    data["executions"]["outcome_ttl_hours"] = 25
    assert load(data).executions.outcome_ttl_hours == 25


def test_a_tight_outcome_ttl_still_leaves_room_for_the_longest_reservation() -> None:
    times = {"outcome_ttl_hours": 2, "spool_max_age_hours": 1, "reservation_ttl_ms": 3_600_000}
    assert only_mistake(changed("executions", times)).path == "executions.outcome_ttl_hours"
    times["reservation_ttl_ms"] -= 1
    assert load(changed("executions", times)).executions.spool_max_age_hours == 1


def test_the_least_tokens_of_an_answer_are_at_most_the_most() -> None:
    mistake = only_mistake(with_limits(min_output_tokens=101))
    assert mistake.path == "actions.greet.limits"
    assert load(with_limits(min_output_tokens=100)).actions["greet"].limits.min_output_tokens == 100


def test_thinking_leaves_something_for_the_answer() -> None:
    data = changed("models.writer.reasoning_allowance_tokens", 100)
    assert only_mistake(data).path == "actions.greet.limits.max_output_tokens"
    assert load(changed("models.writer.reasoning_allowance_tokens", 99)).models


@pytest.mark.parametrize(
    "path, section",
    [
        ("actions.greet.model", "model"),
        ("models.writer.endpoint", "endpoint"),
        ("models.writer.replaced_by", "model"),
    ],
)
def test_a_name_that_nothing_has_is_refused_with_the_likely_one(path: str, section: str) -> None:
    near = {"model": "writer", "endpoint": "mock"}[section]
    mistake = only_mistake(changed(path, near[:-1]))
    assert mistake.path == path
    assert f"there is no {section} {near[:-1]!r}; did you mean {near!r}?" in mistake.message


@pytest.mark.parametrize("cycle", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_models_that_replace_each_other_are_refused(cycle: list[str]) -> None:
    data = right()
    for model_id, successor in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        data["models"][model_id] = {**data["models"]["writer"], "replaced_by": successor}
    assert [m.path for m in mistakes_in(data)] == [f"models.{m}.replaced_by" for m in cycle]


def test_json_object_is_refused_where_the_provider_is_never_asked_for_it() -> None:
    data = right()
    data["models"]["writer"]["json_schema"] = "json_object"
    assert load(data).models["writer"].json_schema == "json_object"

    data["models"]["writer"]["litellm_model"] = "anthropic/claude-sonnet-4-5"
    mistake = only_mistake(data)
    assert mistake.path == "models.writer.json_schema"
    assert "must be true or false" in mistake.message


def test_a_model_without_a_rate_today_is_refused() -> None:
    mistake = only_mistake(changed("rate_cards.0.rates", {}))
    assert mistake.path == "actions.greet.model"
    assert "first" in mistake.message


def test_a_model_that_will_have_no_rate_is_refused() -> None:
    data = right()
    data["rate_cards"].append(LATER)
    mistake = only_mistake(data)
    assert mistake.path == "actions.greet.model"
    assert "'later' (from 2027-01-01)" in mistake.message


def test_rate_cards_that_are_over_need_no_rate_for_the_models_of_today() -> None:
    data = right()
    data["rate_cards"].insert(0, EARLIER)
    assert load(data).rate_cards[0].version == "earlier"


@pytest.mark.parametrize("cards", [[], [LATER]])
def test_an_action_without_a_rate_card_in_force_is_refused(cards: list[dict[str, Any]]) -> None:
    assert "no rate card is in force" in only_mistake(changed("rate_cards", cards)).message


def test_a_rate_that_is_declared_free_is_a_rate() -> None:
    free = {"input": 0, "output": 0, "free": True}
    assert load(changed("rate_cards.0.rates.writer", free)).rate_cards[0].rates["writer"].free


def test_rates_at_which_one_answer_costs_more_than_a_balance_can_hold_are_refused() -> None:
    data = with_limits(max_output_tokens=10**10)
    data["rate_cards"][0]["rates"]["writer"]["output"] = 10**9
    assert only_mistake(data).path == "actions.greet.limits.max_output_tokens"


def test_two_rate_cards_are_told_apart_by_version_and_by_time() -> None:
    data = right()
    data["rate_cards"].append(data["rate_cards"][0])
    assert [m.path for m in mistakes_in(data)] == [
        "rate_cards[1].version",
        "rate_cards[1].effective_from",
    ]


def test_the_successor_of_a_model_that_retires_needs_a_rate_too() -> None:
    data = with_successor(retires_on="2027-06-30")
    mistake = only_mistake(data)
    assert (mistake.path, "'heir'" in mistake.message) == ("actions.greet.model", True)


def test_a_successor_that_may_not_be_called_needs_no_rate() -> None:
    data = with_successor(retires_on="2027-06-30")
    data["actions"]["greet"]["allow_replacement_model"] = False
    assert load(data).models["writer"].replaced_by == "heir"
    assert load(with_successor()).models["writer"].replaced_by == "heir"


def test_a_model_needs_no_rate_in_cards_that_begin_after_it_retires() -> None:
    data = with_successor(retires_on="2026-12-31")
    rates = {"heir": {"input": 1, "output": 1}}
    data["rate_cards"][0]["rates"] |= rates
    data["rate_cards"].append({**LATER, "rates": rates})
    assert load(data).rate_cards[1].version == "later"


@pytest.mark.parametrize(
    "retires_on, words",
    [
        ("2026-12-24", None),
        ("2026-12-23", "retires on 2026-12-23; then 'heir' is used"),
        ("2026-11-24", "retires on 2026-11-24; then 'heir' is used"),
        ("2026-11-23", "retired on 2026-11-23; now 'heir' is used"),
    ],
)
def test_a_model_that_retires_within_a_month_is_a_warning(
    retires_on: str, words: str | None
) -> None:
    data = with_successor(retires_on=retires_on)
    data["rate_cards"][0]["rates"]["heir"] = {"input": 1, "output": 1}
    warnings = warnings_of(data)
    assert [path for path, _ in warnings] == ["actions.greet.model"] * (words is not None)
    assert all(words and words in message for _, message in warnings)


def test_adaptive_reservations_without_a_least_answer_are_a_warning() -> None:
    data = changed("actions.greet.limits.reservation", "adaptive")
    [(path, message)] = warnings_of(data)
    assert path == "actions.greet.limits.reservation"
    assert "min_output_tokens" in message
    data["actions"]["greet"]["limits"]["min_output_tokens"] = 5
    assert warnings_of(data) == []


def test_a_warning_says_when_fallback_values_will_take_over() -> None:
    [(_, message)] = warnings_of(changed("models.writer.retires_on", "2026-11-01"))
    assert "model_unavailable" in message
    data = with_successor(retires_on="2026-11-01")
    data["actions"]["greet"]["allow_replacement_model"] = False
    [(_, message)] = warnings_of(data)
    assert "allow_replacement_model is false" in message


@pytest.mark.parametrize(
    "heir_retires_on, warnings",
    [
        ("2026-11-30", ["writer' retired on 2026-11-01; now 'heir' is used", "heir' retires on"]),
        ("2026-11-23", ["now fallback values are used instead (model_unavailable), as 'heir' has"]),
        ("2026-12-31", ["writer' retired on 2026-11-01; now 'heir' is used"]),
    ],
)
def test_a_successor_that_retires_too_is_told_as_well(
    heir_retires_on: str, warnings: list[str]
) -> None:
    data = with_successor(retires_on="2026-11-01")
    data["models"]["heir"]["retires_on"] = heir_retires_on
    data["rate_cards"][0]["rates"]["heir"] = {"input": 1, "output": 1}
    found = [message for path, message in warnings_of(data) if path == "actions.greet.model"]
    assert len(found) == len(warnings)
    assert all(words in message for words, message in zip(warnings, found, strict=True))


@pytest.mark.parametrize(
    "retires_on, replaced_by, words",
    [
        (
            "2026-11-24",
            "writer",
            "retires on 2026-11-24; from then on actions that name it get 'wr",
        ),
        ("2026-12-23", None, "retires on 2026-12-23; from then on actions that name it get fallb"),
        ("2026-12-24", None, None),
        ("2026-11-23", None, None),
    ],
)
def test_a_model_that_no_action_here_names_is_told_while_it_retires(
    retires_on: str, replaced_by: str | None, words: str | None
) -> None:
    spare = {**right()["models"]["writer"], "retires_on": retires_on, "replaced_by": replaced_by}
    warnings = warnings_of(changed("models.spare", spare))
    assert [path for path, _ in warnings] == ["models.spare.retires_on"] * (words is not None)
    assert all(words and words in message for _, message in warnings)


def test_the_context_leaves_room_for_a_prompt_beside_the_answer() -> None:
    mistake = only_mistake(changed("models.writer.context_tokens", 100))
    assert mistake.path == "actions.greet.limits.max_output_tokens"
    assert load(changed("models.writer.context_tokens", 101)).models


@pytest.mark.parametrize(
    "heir", [{"reasoning_allowance_tokens": 100}, {"context_tokens": 100}], ids=str
)
def test_a_successor_has_room_for_the_answer_as_well(heir: dict[str, int]) -> None:
    data = with_successor(retires_on="2027-06-30")
    data["models"]["heir"] |= heir
    data["rate_cards"][0]["rates"]["heir"] = {"input": 1, "output": 1}
    mistake = only_mistake(data)
    assert mistake.path == "actions.greet.limits.max_output_tokens"
    assert "'heir'" in mistake.message


TIER = {"above_input_tokens": 200_000, "input": 2000, "output": 3000}


def test_tiers_are_read_and_take_what_is_not_given_from_their_own_rates() -> None:
    card = load(changed("rate_cards.0.rates.writer.tiers", [TIER])).build_rate_cards().at(NOW)
    assert card is not None
    assert card.rates["writer"].at(200_000).input_mc == 1_000_000
    long = card.rates["writer"].at(200_001)
    assert (long.input_mc, long.cached_input_mc, long.cache_write_mc) == (2_000_000,) * 3
    assert (long.output_mc, long.reasoning_mc) == (3_000_000, 3_000_000)


@pytest.mark.parametrize(
    "tiers, words",
    [
        ([{**TIER, "input": 999}], "above 200,000 input tokens input costs less"),
        ([TIER, TIER], "must rise"),
        ([{**TIER, "above_input_tokens": 0}], "above_input_tokens"),
        ([{**TIER, "per_request": 1}], "is not a known key"),
    ],
)
def test_tiers_that_make_no_sense_are_refused_where_they_stand(
    tiers: list[dict[str, int]], words: str
) -> None:
    mistake = only_mistake(changed("rate_cards.0.rates.writer.tiers", tiers))
    assert mistake.path.startswith("rate_cards[0].rates.writer")
    assert words in f"{mistake.path}: {mistake.message}"


def test_a_tier_at_which_one_answer_costs_more_than_a_balance_can_hold_is_refused() -> None:
    data = with_limits(max_output_tokens=10**10)
    data["rate_cards"][0]["rates"]["writer"]["tiers"] = [{**TIER, "output": 10**9}]
    assert only_mistake(data).path == "actions.greet.limits.max_output_tokens"


def test_a_rate_for_a_model_that_is_gone_is_a_warning_at_its_name() -> None:
    data = changed("rate_cards.0.rates.old", {"input": 1, "output": 1})
    [warning] = load(data).warnings
    assert warning.path == "rate_cards[0].rates.old"
    assert "did you mean" not in warning.message


def test_an_embedded_server_has_no_password() -> None:
    data = changed("redis.password", {"env": "PASSWORD"})
    assert only_mistake(data, environ={"PASSWORD": "x"}).path == "redis.password"


def test_an_embedded_server_has_no_users() -> None:
    data = changed("redis", {"username": "worker", "password": {"env": "PASSWORD"}})
    found = mistakes_in(data, environ={"PASSWORD": "x"})
    assert {mistake.path for mistake in found} == {"redis.username", "redis.password"}


def test_a_user_of_redis_needs_a_password() -> None:
    data = changed("redis", {"url": "redis://node", "username": "worker"})
    mistake = only_mistake(data)
    assert (mistake.path, mistake.message) == (
        "redis.username",
        "must have redis.password beside it",
    )
    data["redis"]["password"] = {"env": "PASSWORD"}
    assert load(data, environ={"PASSWORD": "x"}).redis.username == "worker"


@pytest.mark.parametrize("wrong", ["http://node", "redis://worker:secret@node", "", 6379, None])
@pytest.mark.parametrize(
    "others",
    [
        {"password": {"env": "PASSWORD"}},
        {"username": "worker", "password": {"env": "PASSWORD"}},
        {"durability": "fsync"},
        {"cluster": True},
    ],
)
def test_a_wrong_address_of_redis_is_one_mistake_whatever_stands_beside_it(
    wrong: object, others: dict[str, object]
) -> None:
    mistake = only_mistake(changed("redis", {"url": wrong, **others}), environ={"PASSWORD": "x"})
    assert mistake.path == "redis.url"


def test_a_missing_password_of_redis_is_one_mistake_beside_a_user() -> None:
    data = {"url": "redis://node", "username": "worker", "password": {"env": "PASSWORD"}}
    assert only_mistake(changed("redis", data)).path == "redis.password"


@pytest.mark.parametrize("durability", ["fsync", "replicated"])
def test_an_embedded_server_is_no_more_durable_than_relaxed(durability: str) -> None:
    assert only_mistake(changed("redis.durability", durability)).path == "redis.durability"


@pytest.mark.parametrize(
    "url, path",
    [
        ("embedded", "redis.cluster"),
        ("unix:///run/redis.sock", "redis.cluster"),
        ("redis://node:6379/3", "redis.url"),
        ("rediss://node?db=3", "redis.url"),
    ],
)
def test_a_cluster_is_reached_over_a_network_and_has_one_database(url: str, path: str) -> None:
    data = changed("redis.cluster", True)
    data["redis"]["url"] = url
    assert only_mistake(data).path == path


@pytest.mark.parametrize("url", ["redis://node", "rediss://node:7000/0"])
def test_a_cluster_is_named_by_any_of_its_nodes(url: str) -> None:
    data = changed("redis.cluster", True)
    data["redis"]["url"] = url
    assert load(data).redis.cluster


SENTINEL: dict[str, Any] = {"master": "mymaster", "nodes": ["one:26379", "two"]}


def test_sentinels_stand_in_for_an_address_and_have_the_usual_port() -> None:
    redis = load(changed("redis", {"sentinel": SENTINEL, "durability": "replicated"})).redis
    assert redis.sentinel is not None
    assert redis.sentinel.nodes == ["one:26379", "two:26379"]
    assert not redis.is_embedded


@pytest.mark.parametrize(
    "beside, of_sentinel, path",
    [
        ({"url": "redis://node"}, {}, "redis.url"),
        ({"cluster": True}, {}, "redis.cluster"),
        ({}, {"master": ""}, "redis.sentinel.master"),
        ({}, {"master": "two words"}, "redis.sentinel.master"),
        ({}, {"nodes": []}, "redis.sentinel.nodes"),
        ({}, {"nodes": ["one", "one:26379"]}, "redis.sentinel.nodes"),
        ({}, {"nodes": ["redis://one:26379"]}, "redis.sentinel.nodes[0]"),
        ({}, {"nodes": ["one:26379/0"]}, "redis.sentinel.nodes[0]"),
        ({}, {"nodes": ["one:99999"]}, "redis.sentinel.nodes[0]"),
        ({}, {"username": "worker"}, "redis.sentinel.username"),
        ({}, {"ca_file": "ca.pem"}, "redis.sentinel.ca_file"),
        ({}, {"password": {"env": "MISSING"}}, "redis.sentinel.password"),
        ({}, {"password": "in the clear"}, "redis.sentinel.password"),
    ],
)
def test_a_mistake_about_sentinels_is_one_and_names_its_key(
    beside: dict[str, Any], of_sentinel: dict[str, Any], path: str, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").touch()
    data = changed("redis", {"sentinel": SENTINEL | of_sentinel, **beside})
    assert only_mistake(data, base_dir=tmp_path).path == path


def test_law_15_at_most_a_hundred_sentinels_are_asked() -> None:
    nodes = [f"sentinel-{number}" for number in range(101)]
    sentinel = SENTINEL | {"nodes": nodes}
    assert only_mistake(changed("redis", {"sentinel": sentinel})).path == "redis.sentinel.nodes"
    sentinel["nodes"] = nodes[:100]
    assert load(changed("redis", {"sentinel": sentinel})).redis.sentinel is not None


@pytest.mark.parametrize("assumed", [["no such thing"], "version"])
def test_only_what_can_be_assumed_is(assumed: object) -> None:
    assert only_mistake(changed("redis.assume", assumed)).path.startswith("redis.assume")


def test_there_is_at_least_one_plan() -> None:
    assert only_mistake(changed("plans", {})).path == "plans"


def test_a_renamed_key_is_refused_with_its_new_name() -> None:
    mistake = only_mistake(changed("endpoints.mock.breaker", {"open_max_ms": 60_000}))
    assert mistake.path == "endpoints.mock.breaker.open_max_ms"
    assert mistake.message == "is now named 'max_open_ms'"
