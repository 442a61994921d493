"""Reasons for fallback values, and why a call was not made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType

from fallback.reasons import FallbackReason
from providers.pacing.queue import Bottleneck
from runtime.actions.requests import EndpointRefusal
from runtime.hints import did_you_mean

_FORBIDDEN, _NOT_FOUND = 403, 404

REASONS: Mapping[FallbackReason, str] = MappingProxyType(
    {
        FallbackReason.INSUFFICIENT_CREDITS: "the account has no usable credits left",
        FallbackReason.CREDITS_RESERVED_ELSEWHERE: (
            "the remaining credits were reserved for other executions at that moment"
        ),
        FallbackReason.EXECUTION_TOO_LARGE: (
            "the remaining credits do not cover what one answer may cost"
        ),
        FallbackReason.PLAN_NOT_ELIGIBLE: "the account's plan has no AI credits",
        FallbackReason.ACCOUNT_UNKNOWN: "there is no such account",
        FallbackReason.ACCOUNT_CLOSED: "the account is closed",
        FallbackReason.CAP_REACHED: "a spending cap was reached",
        FallbackReason.SWITCHED_OFF: (
            "the account, the workspace, the campaign or the action is switched off"
        ),
        FallbackReason.DEADLINE_EXCEEDED: "the action's time limit was reached",
        FallbackReason.PROMPT_ERROR: (
            "the prompt is too long, or needs something that is not known about the person"
        ),
        FallbackReason.MODEL_NOT_PRICED: "the model has no price and was not called",
        FallbackReason.MODEL_UNAVAILABLE: "the model is unavailable or has retired",
        FallbackReason.PROVIDER_REJECTED: "the model's provider rejected the request",
        FallbackReason.PROVIDER_RATE_LIMITED: "the model's provider received too many requests",
        FallbackReason.PROVIDER_ERROR: "the model's provider had an error",
        FallbackReason.PROVIDER_TIMEOUT: "the model did not answer in time",
        FallbackReason.CONTENT_REFUSED: "the model declined to answer",
        FallbackReason.OUTPUT_TRUNCATED: "the answer was cut off before it was complete",
        FallbackReason.OUTPUT_INVALID: "the answer did not have the required form",
        FallbackReason.LEDGER_UNAVAILABLE: "the credit ledger could not be reached",
        FallbackReason.OUTCOME_LOST: "an earlier answer existed but has been lost",
    }
)
"""The reason that a value is a fallback, to stand after "because"."""

_WAITED_FOR: Mapping[Bottleneck, str] = MappingProxyType(
    {
        Bottleneck.PROCESS: "this process was already making as many calls as it may",
        Bottleneck.PAUSE: "the model's provider asked for a pause",
        Bottleneck.SLOT: "as many calls as allowed were already running at this provider",
        Bottleneck.REQUESTS: "the provider's requests for this minute were used up",
        Bottleneck.TOKENS: "the provider's tokens for this minute were used up",
    }
)


def no_turn_text(bottleneck: Bottleneck) -> str:
    """Return what an execution was waiting for when its time was over."""
    return f"it waited for its turn: {_WAITED_FOR[bottleneck]}"


def provider_down_text(model_id: str, probe_in_ms: int) -> str:
    """Return why a model was not called: its provider keeps failing."""
    return f"the provider of model {model_id} keeps failing; {next_attempt_text(probe_in_ms)}"


def next_attempt_text(probe_in_ms: int) -> str:
    """Return when a model that is not called is tried again."""
    if probe_in_ms:
        return f"the next attempt is in {-(-probe_in_ms // 1000)} s"
    return "a new attempt is under way"


def refused_text(refusal: EndpointRefusal, model_id: str) -> str:
    """Return the provider's refusal of a key or a model, and what to check in the config."""
    endpoint, status = refusal.endpoint, refusal.status
    if status == _NOT_FOUND:
        why = (
            f"the model was not found; check models.{model_id}.litellm_model "
            f"and endpoints.{endpoint}.api_base"
        )
    elif status == _FORBIDDEN:
        why = (
            f"the key may not be used for this; check endpoints.{endpoint}.api_key and what its "
            "owner allows"
        )
    else:
        why = f"the key was refused; check endpoints.{endpoint}.api_key"
    return f"HTTP {status} from endpoint {endpoint}: {why}"


def held_text(reason: FallbackReason) -> str:
    """Return why no further call was begun for an execution that had its credits."""
    if reason is FallbackReason.SWITCHED_OFF:
        return "it was switched off meanwhile, so no further call was made"
    return "the ledger could not say whether it was switched off, so no further call was made"


def unknown_model_text(model_id: str, known: Iterable[str]) -> str:
    """Return why an action can't run whose model the configuration lacks."""
    return f"the configuration has no model {model_id!r}{did_you_mean(model_id, known)}"


def retired_model_text(model_id: str, retires_on: date | None) -> str:
    """Return why an action can't run whose model is not called any more."""
    since = "" if retires_on is None else f" on {retires_on.isoformat()}"
    return f"model {model_id!r} has retired{since}, and nothing may be called in its place"


def unpriced_model_text(model_id: str, rate_card: str | None) -> str:
    """Return why an action can't run whose model has no price."""
    if rate_card is None:
        return f"no rate card is in force, so model {model_id!r} has no price"
    return f"rate card {rate_card!r} has no price for model {model_id!r}"
