"""The closed list of reasons."""

from __future__ import annotations

from fallback.reasons import FallbackReason, ReasonGroup


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
