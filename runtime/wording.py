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


BOOKS: Mapping[str, str] = MappingProxyType(
    {
        "granted": "",
        "available": "ready to be used",
        "reserved": "set aside for executions that are running",
        "charged": "used",
        "expired": "over before they were used",
        "voided": "taken back",
        "overage": "used beyond what was left; nobody is charged for it",
        "exposure": "may be owed to providers for calls without an answer; nobody is charged",
    }
)
"""What the parts of a balance mean."""


SUMMARY: Mapping[str, str] = MappingProxyType(
    {
        "model": "answered by the model",
        "mixed": "answered in part: some values are fallback values",
        "fallback": "got fallback values",
        "unfinished": "are being answered by another run: run it again for them",
        "replayed": "of these had their answer from an earlier run: the same values, for free",
    }
)
"""What became of people, to stand after a number."""

TOKEN_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "input_tokens": "input tokens",
        "cached_input_tokens": "  of them read from a cache",
        "cache_write_tokens": "  of them written to a cache",
        "output_tokens": "output tokens",
        "reasoning_tokens": "  of them used for thinking",
    }
)
"""What the parts of a usage are."""

USAGE_ESTIMATED = "The answer named no usage: it is charged by the tokens that we counted."


def books_verdict(conserved: bool) -> str:
    """Say whether the parts of a balance add up."""
    if conserved:
        return "The books balance: the parts add up to what was granted, in all and grant by grant."
    return "THE BOOKS DO NOT BALANCE. Please report this and keep the data."


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


def stopping_text(running: int) -> str:
    """Say what happens after the first Ctrl-C."""
    return (
        f"Stopping: nobody else is taken, {running:,} running executions end first. "
        "Ctrl-C again stops them too and gives their credits back."
    )
