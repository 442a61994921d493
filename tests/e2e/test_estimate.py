"""``creditgate estimate``, for people and for programs."""

from __future__ import annotations

import json

from tests.harness.command_line import Home

ARGS = ("estimate", "--action", "route_message", "--people")


def test_it_says_what_a_campaign_will_cost_and_how_far_the_credits_go(home: Home) -> None:
    home.open_account("acme", amount_mc=2_000_000)
    people, calls = home.people(60), home.calls()

    before = home.run(*ARGS, people, "--account", "acme")
    assert before.status == 0
    assert ": 60 people" in before.stdout
    assert "The prompts of all people were rendered and counted." in before.stdout
    assert "too few answers to learn from" in before.stdout
    assert "Account acme has 2,000 credits, which is not enough" in before.stdout
    assert home.calls() == calls, "no model was called"
    assert home.balance("acme").available_mc == 2_000_000, "nothing was charged"

    ran = home.invoke(
        *("run", "--action", "route_message", "--account", "acme", "--json"),
        *("--people", home.people(25, "trial.csv"), "--source", "test"),
    ).json
    after = home.invoke(*ARGS, people, "--account", "acme", "--json").json
    assert after["answers_known"] == 25
    assert after["called"] == after["counted"] == after["people"] == 60
    cost, each = after["cost"], ran["charged_mc"] / 25
    assert 0.8 * each * 60 < cost["low_mc"] < cost["expected_mc"] < cost["high_mc"]
    assert cost["high_mc"] < 1.2 * each * 60 < cost["worst_mc"]
    assert after["reach"]["available_mc"] == 2_000_000 - ran["charged_mc"]
    assert after["reach"]["covers"] == "less"
    assert 0 < after["reach"]["people_least"] <= after["reach"]["people"] < 60


def test_a_long_file_is_sampled_by_a_seed_and_people_without_a_prompt_stand_apart(
    home: Home,
) -> None:
    rows = [{"person_id": f"p{n}", "message": "word " * n} for n in range(1, 200)]
    rows += [{"person_id": f"q{n}"} for n in range(100)]
    home.write("people.jsonl", "\n".join(map(json.dumps, rows)))

    def estimate(*options: str) -> dict[str, object]:
        found: dict[str, object] = home.invoke(*ARGS, "people.jsonl", "--json", *options).json
        return found

    whole, part = estimate(), estimate("--sample", "60")
    assert whole["before_a_call"] == {"prompt_error": 100}
    assert (whole["people"], whole["counted"], whole["called"]) == (299, 299, 199)
    assert (part["people"], part["counted"]) == (299, 60)
    assert part == estimate("--sample", "60", "--seed", "0")
    assert part != estimate("--sample", "60", "--seed", "1")
    assert whole["reach"] is None

    told = home.invoke(*ARGS, "people.jsonl", "--sample", "60").stdout
    assert "60 of 299 people, picked at random, were rendered and counted" in told
    assert "needs something that is not known about the person" in told
