"""The sentences that marketers read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fallback.reasons import FallbackReason
from pricing.offers import MC_PER_CREDIT

REASONS: Mapping[FallbackReason, str] = MappingProxyType(
    {
        FallbackReason.INSUFFICIENT_CREDITS: "the account has no usable credits left",
        FallbackReason.CREDITS_RESERVED_ELSEWHERE: (
            "what was left of the credits was set aside for others at that moment"
        ),
        FallbackReason.EXECUTION_TOO_LARGE: (
            "what is left of the credits does not cover what one answer may cost"
        ),
        FallbackReason.PLAN_NOT_ELIGIBLE: "the account's plan has no AI credits",
        FallbackReason.ACCOUNT_UNKNOWN: "there is no such account",
        FallbackReason.ACCOUNT_CLOSED: "the account is closed",
        FallbackReason.CAP_REACHED: "a cap on spending was reached",
        FallbackReason.SWITCHED_OFF: "the account, the workspace or the action is switched off",
        FallbackReason.DEADLINE_EXCEEDED: "the time that the action allows was over",
        FallbackReason.EXECUTION_IN_PROGRESS: "the same execution was still running elsewhere",
        FallbackReason.PROMPT_ERROR: "the prompt needs something that is not known of the person",
        FallbackReason.MODEL_NOT_PRICED: "the model has no price, so that it was not called",
        FallbackReason.MODEL_UNAVAILABLE: "the model is not available (any more)",
        FallbackReason.PROVIDER_REJECTED: "the model's provider refused the request",
        FallbackReason.PROVIDER_RATE_LIMITED: "the model's provider got too many requests",
        FallbackReason.PROVIDER_ERROR: "the model's provider had an error",
        FallbackReason.PROVIDER_TIMEOUT: "the model did not answer in time",
        FallbackReason.CONTENT_REFUSED: "the model declined to answer",
        FallbackReason.OUTPUT_TRUNCATED: "the answer broke off before it was complete",
        FallbackReason.OUTPUT_INVALID: "the answer did not have the form that was asked for",
        FallbackReason.LEDGER_UNAVAILABLE: "the credit ledger could not be reached",
        FallbackReason.OUTCOME_LOST: "there had been an answer before, but it is lost",
    }
)
"""Why a value is a fallback, to stand after "because"."""


def credits_text(amount_mc: int) -> str:
    """Write an amount in credits, with up to three decimals."""
    whole, rest = divmod(abs(amount_mc), MC_PER_CREDIT)
    decimals = f".{rest:03d}".rstrip("0") if rest else ""
    return f"{'-' if amount_mc < 0 else ''}{whole:,}{decimals}"


def alert_text(account_id: str, mark: str, left_mc: int, threshold_mc: int) -> str:
    """Say what an alert of the ledger means for the account."""
    left = credits_text(left_mc)
    if mark != "exhausted":
        return (
            f"Credits of account {account_id} are running low: {left} are left, "
            f"the mark is {credits_text(threshold_mc)}. Now is the time to buy more."
        )
    rest = "" if left_mc == 0 else f" (the last {left} do not cover another answer)"
    return (
        f"Credits of account {account_id} are used up{rest}. Campaigns go on with fallback values."
    )
