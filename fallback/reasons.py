"""The closed list of reasons for which a value is a fallback."""

from __future__ import annotations

from enum import StrEnum


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
