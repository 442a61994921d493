"""The closed list of reasons for which a value is a fallback, and which of them are kept."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class ReasonGroup(StrEnum):
    """The five groups that marketers see."""

    CREDITS = "credits"
    LIMITS = "limits"
    PROMPT = "prompt"
    MODEL = "model"
    SERVICE = "service"


class FallbackReason(StrEnum):
    """The reason for a fallback value. The list is closed: adding to it changes the API."""

    INSUFFICIENT_CREDITS = "insufficient_credits"
    CREDITS_RESERVED_ELSEWHERE = "credits_reserved_elsewhere"
    EXECUTION_TOO_LARGE = "execution_too_large"
    PLAN_NOT_ELIGIBLE = "plan_not_eligible"
    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_CLOSED = "account_closed"

    CAP_REACHED = "cap_reached"
    SWITCHED_OFF = "switched_off"
    DEADLINE_EXCEEDED = "deadline_exceeded"

    PROMPT_ERROR = "prompt_error"

    MODEL_NOT_PRICED = "model_not_priced"
    MODEL_UNAVAILABLE = "model_unavailable"
    PROVIDER_REJECTED = "provider_rejected"
    PROVIDER_RATE_LIMITED = "provider_rate_limited"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_TIMEOUT = "provider_timeout"
    CONTENT_REFUSED = "content_refused"
    OUTPUT_TRUNCATED = "output_truncated"
    OUTPUT_INVALID = "output_invalid"

    LEDGER_UNAVAILABLE = "ledger_unavailable"
    OUTCOME_LOST = "outcome_lost"

    @property
    def group(self) -> ReasonGroup:
        """The group that people see this reason under."""
        return _GROUP_OF[self]


_MEMBERS: dict[ReasonGroup, tuple[FallbackReason, ...]] = {
    ReasonGroup.CREDITS: (
        FallbackReason.INSUFFICIENT_CREDITS,
        FallbackReason.CREDITS_RESERVED_ELSEWHERE,
        FallbackReason.EXECUTION_TOO_LARGE,
        FallbackReason.PLAN_NOT_ELIGIBLE,
        FallbackReason.ACCOUNT_UNKNOWN,
        FallbackReason.ACCOUNT_CLOSED,
    ),
    ReasonGroup.LIMITS: (
        FallbackReason.CAP_REACHED,
        FallbackReason.SWITCHED_OFF,
        FallbackReason.DEADLINE_EXCEEDED,
    ),
    ReasonGroup.PROMPT: (FallbackReason.PROMPT_ERROR,),
    ReasonGroup.MODEL: (
        FallbackReason.MODEL_NOT_PRICED,
        FallbackReason.MODEL_UNAVAILABLE,
        FallbackReason.PROVIDER_REJECTED,
        FallbackReason.PROVIDER_RATE_LIMITED,
        FallbackReason.PROVIDER_ERROR,
        FallbackReason.PROVIDER_TIMEOUT,
        FallbackReason.CONTENT_REFUSED,
        FallbackReason.OUTPUT_TRUNCATED,
        FallbackReason.OUTPUT_INVALID,
    ),
    ReasonGroup.SERVICE: (FallbackReason.LEDGER_UNAVAILABLE, FallbackReason.OUTCOME_LOST),
}
_GROUP_OF = {reason: group for group, reasons in _MEMBERS.items() for reason in reasons}


class Kept(StrEnum):
    """The condition under which an outcome with a reason is kept under its execution id."""

    ALWAYS = "always"
    NEVER = "never"
    IF_CHARGED = "if charged"
    IF_REQUEST_AT_FAULT = "if the request was at fault"


KEPT: Mapping[FallbackReason, Kept] = MappingProxyType(
    {
        FallbackReason.INSUFFICIENT_CREDITS: Kept.ALWAYS,
        FallbackReason.CREDITS_RESERVED_ELSEWHERE: Kept.NEVER,
        FallbackReason.EXECUTION_TOO_LARGE: Kept.ALWAYS,
        FallbackReason.PLAN_NOT_ELIGIBLE: Kept.ALWAYS,
        FallbackReason.ACCOUNT_UNKNOWN: Kept.NEVER,
        FallbackReason.ACCOUNT_CLOSED: Kept.ALWAYS,
        FallbackReason.CAP_REACHED: Kept.ALWAYS,
        FallbackReason.SWITCHED_OFF: Kept.NEVER,
        FallbackReason.DEADLINE_EXCEEDED: Kept.ALWAYS,
        FallbackReason.PROMPT_ERROR: Kept.NEVER,
        FallbackReason.MODEL_NOT_PRICED: Kept.NEVER,
        FallbackReason.MODEL_UNAVAILABLE: Kept.NEVER,
        FallbackReason.PROVIDER_REJECTED: Kept.IF_REQUEST_AT_FAULT,
        FallbackReason.PROVIDER_RATE_LIMITED: Kept.NEVER,
        FallbackReason.PROVIDER_ERROR: Kept.NEVER,
        FallbackReason.PROVIDER_TIMEOUT: Kept.NEVER,
        FallbackReason.CONTENT_REFUSED: Kept.IF_CHARGED,
        FallbackReason.OUTPUT_TRUNCATED: Kept.IF_CHARGED,
        FallbackReason.OUTPUT_INVALID: Kept.IF_CHARGED,
        FallbackReason.LEDGER_UNAVAILABLE: Kept.NEVER,
        FallbackReason.OUTCOME_LOST: Kept.NEVER,
    }
)
"""The conditions on which each reason is kept; what is not kept can be asked again with its id."""

STATUSES_OF_FAULTY_REQUESTS = frozenset({400, 413, 422})
"""With other statuses (a wrong key or address), the same request works once that is mended."""


def is_kept(reason: FallbackReason, *, charged: bool = False, status: int | None = None) -> bool:
    """Return whether an outcome is kept, so that asking again with its id gives it again.

    Args:
        charged: true for an answer that was settled, even if it cost nothing.
        status: the HTTP status with which a provider rejected the request, if it did.
    """
    match KEPT[reason]:
        case Kept.ALWAYS:
            return True
        case Kept.NEVER:
            return False
        case Kept.IF_CHARGED:
            return charged
        case Kept.IF_REQUEST_AT_FAULT:
            return status in STATUSES_OF_FAULTY_REQUESTS


def kept_refusals() -> tuple[FallbackReason, ...]:
    """Return the reasons that are kept whatever else is known about the execution."""
    return tuple(reason for reason, kept in KEPT.items() if kept is Kept.ALWAYS)
