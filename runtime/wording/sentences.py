"""The sentences that people read: marketers, and operators at the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from fallback.reasons import FallbackReason
from pricing.efficiency import COST_EFFICIENT_PERCENT
from pricing.offers import MC_PER_CREDIT
from providers.pacing.queue import Bottleneck
from runtime.credits.caps import Cap, CapStatus, CapWindow

if TYPE_CHECKING:
    from runtime.campaigns.estimate import Reach
    from runtime.catalog.choice import ModelChoice

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
        FallbackReason.PROMPT_ERROR: (
            "the prompt needs something that is not known of the person, or is too long"
        ),
        FallbackReason.MODEL_NOT_PRICED: "the model has no price, so that it was not called",
        FallbackReason.MODEL_UNAVAILABLE: "the model is not available now, or not any more",
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

QUOTES: Mapping[str, str] = MappingProxyType(
    {
        "input_undercounted": (
            "answers used more input tokens than were counted: raise the model's "
            "token_margin_percent"
        ),
        "quote_exceeded": "answers cost more than was reserved for them",
        "cut_by_us": (
            "answers were cut off by a limit that was lowered to what was reserved; they are free"
        ),
    }
)
"""How far quotes did not hold, to stand after a number."""

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


CAP_WINDOWS: Mapping[CapWindow, str] = MappingProxyType(
    {CapWindow.DAY: "a day", CapWindow.MONTH: "a month", CapWindow.TOTAL: "in total"}
)
"""What a cap counts, to stand after its limit."""

_DIMENSIONS = {
    "workspace_id": "workspace",
    "campaign_id": "campaign",
    "action": "action",
    "source": "source",
}
_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "min": 60_000}


def capped_text(cap: Cap) -> str:
    """Say whose charges a cap counts."""
    named = [f"{_DIMENSIONS[name]} {value}" for name, value in cap.named.items()]
    return ", ".join(named) or "the account"


def cap_text(cap: Cap, limit_mc: int) -> str:
    """Name a cap by its limit, its window and whose charges it counts."""
    return f"{credits_text(limit_mc)} credits {CAP_WINDOWS[cap.window]} for {capped_text(cap)}"


def cap_reached_text(status: CapStatus) -> str:
    """Say which cap was reached, and what stood in its way."""
    reset = ""
    if status.resets_in_ms is not None:
        reset = f"; it begins anew in {duration_text(status.resets_in_ms)}"
    return (
        f"the cap of {cap_text(status.cap, status.limit_mc)}: "
        f"{credits_text(status.charged_mc)} charged, {credits_text(status.reserved_mc)} reserved"
        f"{reset}"
    )


def duration_text(duration_ms: int) -> str:
    """Write a duration in its two largest units, down to the minute."""
    parts: list[tuple[int, str]] = []
    for unit, unit_ms in _UNITS_MS.items():
        count, duration_ms = divmod(duration_ms, unit_ms)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "under 1 min"


_NO_TURN: Mapping[Bottleneck, str] = MappingProxyType(
    {
        Bottleneck.PROCESS: "all calls that this process makes at once were taken",
        Bottleneck.PAUSE: "the model's provider asked to be left alone for a while",
        Bottleneck.SLOT: "all calls that are made at once at this provider were taken",
        Bottleneck.REQUESTS: "more requests came than go to this provider in a minute",
        Bottleneck.TOKENS: "more text came than goes to this provider in a minute",
    }
)


def no_turn_text(bottleneck: Bottleneck) -> str:
    """Say what an execution waited for until its time was over."""
    return f"it waited for its turn: {_NO_TURN[bottleneck]}"


def provider_down_text(model_id: str, probe_in_ms: int) -> str:
    """Say why a model was not even called."""
    soon = f"in {-(-probe_in_ms // 1000)} s" if probe_in_ms else "just now"
    return f"the provider of model {model_id} fails again and again; it is tried again {soon}"


def switched_off_text(targets: Sequence[str]) -> str:
    """Say what is switched off now."""
    if not targets:
        return "Nothing is switched off."
    return (
        f"Switched off: {', '.join(targets)}. New executions get fallback values there; those "
        "that run are answered."
    )


def repeated_text(reference: str) -> str:
    """Say that a change was none, because its reference had made it before."""
    return f"The reference {reference} had done this before; nothing was changed."


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


def counted_text(counted: int, people: int) -> str:
    """Say how many people an estimate goes by."""
    if counted == people:
        return "Everybody's prompt was rendered and counted."
    return (
        f"{counted:,} of {people:,} people, picked at random, were rendered and counted; the rest "
        "is taken to be like them."
    )


def history_text(answers: int) -> str:
    """Say what an estimate takes the length of answers from."""
    if answers:
        return f"It goes by {answers:,} answers that this version of the action has had."
    return (
        "This version of the action has had too few answers to go by, so the range is wide: from "
        "the shortest answers that are valid, to the longest."
    )


_COVERS = {
    "worst_case": "which is enough, whatever happens",
    "likely": "which is very likely enough",
    "expected": "which should be enough, but need not be",
    "less": "which is not enough",
}


def reach_text(reach: Reach, people: int) -> str:
    """Say how far an account's credits go."""
    has = f"Account {reach.account_id} has {credits_text(reach.available_mc)} credits"
    if not reach.usable:
        return f"{has}, which it can't use: it is closed, or its plan has no AI credits."
    sentence = f"{has}, {_COVERS[reach.covers]}"
    if reach.people_least == people:
        return f"{sentence}."
    share = 100 * reach.people // people
    ends = f"{reach.people_least:,} to {reach.people_most:,}"
    return (
        f"{sentence}. They should last for about {reach.people:,} of {people:,} people ({share}%; "
        f"likely {ends}); the others would get fallback values."
    )


def stopping_text(running: int) -> str:
    """Say what happens after the first Ctrl-C."""
    return (
        f"Stopping: nobody else is taken, {running:,} running executions end first. "
        "Ctrl-C again stops them too and gives their credits back."
    )


def model_state_text(choice: ModelChoice) -> str:
    """Say what is special about a model: no rate, or that it retires or has retired."""
    said = []
    if not choice.priced:
        said.append("no rate in the rate card in force, so it is not called")
    if choice.json_schema and choice.listed_json_schema is False:
        said.append("LiteLLM says that it follows no JSON Schema: try json_schema: false")
    if choice.retires_on is not None and choice.called == choice.id:
        then = f", replaced by {choice.replaced_by}" if choice.replaced_by else ""
        said.append(f"retires on {choice.retires_on}{then}")
    elif choice.called != choice.id:
        then = f"{choice.called} is called instead" if choice.called else "it is not called"
        said.append(f"retired on {choice.retires_on}: {then}")
    elif choice.given_up_on is not None:
        said.append(
            f"its provider gives it up on {choice.given_up_on}, LiteLLM says: set retires_on"
        )
    return "; ".join(said)


def model_choice_rule(action_id: str | None) -> str:
    """Say by what models are compared, and which are cost-efficient."""
    run = f"one of {action_id}" if action_id else "1,000 input and 300 output tokens"
    return (
        f"A typical run is {run}. Cost-efficient: at most {COST_EFFICIENT_PERCENT / 100:g} times "
        "the cheapest of its class."
    )
