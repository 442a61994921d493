"""The closed list of reasons."""

from __future__ import annotations

import re

from fallback.reasons import KEPT, FallbackReason, Kept, ReasonGroup, is_kept
from tests.harness.paths import ROOT


def test_every_reason_belongs_to_a_group_that_marketers_see() -> None:
    assert {reason.group for reason in FallbackReason} == set(ReasonGroup)


def test_the_list_is_closed_because_results_and_reports_name_it() -> None:
    assert {reason.value for reason in FallbackReason} == {
        "insufficient_credits",
        "credits_reserved_elsewhere",
        "execution_too_large",
        "plan_not_eligible",
        "account_unknown",
        "account_closed",
        "cap_reached",
        "switched_off",
        "deadline_exceeded",
        "prompt_error",
        "model_not_priced",
        "model_unavailable",
        "provider_rejected",
        "provider_rate_limited",
        "provider_error",
        "provider_timeout",
        "content_refused",
        "output_truncated",
        "output_invalid",
        "ledger_unavailable",
        "outcome_lost",
    }


def test_every_reason_says_when_it_is_kept() -> None:
    assert set(KEPT) == set(FallbackReason)


def test_what_is_kept_is_what_the_page_of_concepts_says() -> None:
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (always|never|if [a-z ]+)[^|]*\| ([^|]+) \|$", page, re.MULTILINE)

    told = {
        FallbackReason(reason): Kept(kept.strip())
        for kept, cell in rows
        for reason in re.findall(r"`(\w+)`", cell)
    }

    assert told == dict(KEPT)


def test_a_provider_that_rejects_the_request_itself_would_do_so_again() -> None:
    rejected = FallbackReason.PROVIDER_REJECTED

    kept = {status for status in range(100, 600) if is_kept(rejected, status=status)}

    assert kept == {400, 413, 422}
    assert not is_kept(rejected)


def test_an_answer_is_kept_if_the_account_pays_for_it() -> None:
    unusable = [reason for reason, kept in KEPT.items() if kept is Kept.IF_CHARGED]

    assert unusable == ["content_refused", "output_truncated", "output_invalid"]
    for reason in unusable:
        assert is_kept(reason, charged=True)
        assert not is_kept(reason)
