"""What each fault of each provider means: the table that docs/providers.md shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from fallback.reasons import FallbackReason

ATTEMPTS = 2
"""What the action of the table allows: a fault that may pass is tried again once."""

MODELS = {
    "openai": "openai/gpt-4o-mini",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "anthropic, forced tool": "anthropic/claude-3-haiku-20240307",
    "gemini": "gemini/gemini-2.5-flash",
    "mistral": "mistral/mistral-small-latest",
    "deepseek": "deepseek/deepseek-chat",
    "groq": "groq/llama-3.3-70b-versatile",
    "xai": "xai/grok-3-mini",
    "hosted_vllm": "hosted_vllm/mine",
    "openrouter": "openrouter/openai/gpt-4o-mini",
}
ANTHROPIC = ("anthropic", "anthropic, forced tool")


class Charge(StrEnum):
    """What the account pays."""

    NOTHING = "nothing"
    USAGE = "its usage"
    COUNTED = "counted tokens"


@dataclass(frozen=True, slots=True)
class Row:
    """What is expected of a fault.

    ``reason`` is ``None`` where the values are the model's. ``exposed`` is for how many attempts
    the quote is exposure. ``scenario`` is the mock provider's word for it; ``None``: nobody
    listens. ``hangs`` says that the attempt's own time limit ends it.
    """

    fault: str
    scenario: str | None
    reason: FallbackReason | None
    attempts: int
    charge: Charge
    exposed: int
    hangs: bool = False


_R = FallbackReason


def _rejected(fault: str, scenario: str, reason: FallbackReason, attempts: int = 1) -> Row:
    return Row(fault, scenario, reason, attempts, Charge.NOTHING, exposed=0)


def _lost(fault: str, scenario: str, reason: FallbackReason, attempts: int = 1) -> Row:
    return Row(fault, scenario, reason, attempts, Charge.NOTHING, exposed=attempts)


def _stuck(fault: str, scenario: str) -> Row:
    return replace(_lost(fault, scenario, _R.PROVIDER_TIMEOUT, ATTEMPTS), hangs=True)


def _answered(
    fault: str, scenario: str, reason: FallbackReason | None, charge: Charge = Charge.USAGE
) -> Row:
    return Row(fault, scenario, reason, 1, charge, exposed=0)


_QUOTA = _rejected("429, quota used up", "insufficient_quota", _R.PROVIDER_RATE_LIMITED)
_FILTERED_PROMPT = _lost("prompt filtered", "content_filter", _R.PROVIDER_REJECTED)
_REFUSED = _answered("refused by the model", "refusal", _R.CONTENT_REFUSED)
_UNPARSED = _lost("400, written but no JSON", "json_validate_failed", _R.PROVIDER_REJECTED)
_CLASSES = _answered(
    "usage in every class", "cached=20,cache_write=10,reasoning=7", None, Charge.USAGE
)

ROWS = (
    Row("connection refused", None, _R.PROVIDER_ERROR, ATTEMPTS, Charge.NOTHING, exposed=0),
    _rejected("400", "status=400", _R.PROVIDER_REJECTED),
    _rejected("400, prompt too long", "context_length_exceeded", _R.PROVIDER_REJECTED),
    _rejected("401", "status=401", _R.PROVIDER_REJECTED),
    _rejected("403", "status=403", _R.PROVIDER_REJECTED),
    _rejected("404", "status=404", _R.PROVIDER_REJECTED),
    _rejected("413", "status=413", _R.PROVIDER_REJECTED),
    _rejected("429", "status=429", _R.PROVIDER_RATE_LIMITED, ATTEMPTS),
    _rejected(
        "429 with Retry-After", "status=429,retry_after=0.4", _R.PROVIDER_RATE_LIMITED, ATTEMPTS
    ),
    _QUOTA,
    _rejected("503", "status=503", _R.PROVIDER_ERROR, ATTEMPTS),
    _rejected("529", "status=529", _R.PROVIDER_ERROR, ATTEMPTS),
    _lost("408", "status=408", _R.PROVIDER_TIMEOUT),
    _lost("500", "status=500", _R.PROVIDER_ERROR, ATTEMPTS),
    _lost("502", "status=502", _R.PROVIDER_ERROR, ATTEMPTS),
    _lost("504", "status=504", _R.PROVIDER_TIMEOUT),
    _FILTERED_PROMPT,
    _UNPARSED,
    _lost("reset before the request was read", "reset_early", _R.PROVIDER_ERROR),
    _lost("reset after the request was read", "reset", _R.PROVIDER_ERROR),
    _lost("200, body is not JSON", "not_json", _R.PROVIDER_ERROR),
    _lost("200, answer of 50 MB", "huge", _R.PROVIDER_ERROR),
    _stuck("no answer", "hang"),
    _stuck("headers that do not end", "slow_headers"),
    _stuck("body that drips", "drip"),
    _answered("answer", "", None),
    _CLASSES,
    _answered("xAI's totals", "usage=xai,reasoning=7", None),
    _answered("usage missing", "usage=missing", None, Charge.COUNTED),
    _answered("usage of zeros", "usage=zero", None, Charge.COUNTED),
    _REFUSED,
    _answered("answer filtered", "filtered", _R.CONTENT_REFUSED),
    _answered("cut off at the token limit", "truncated", _R.OUTPUT_TRUNCATED),
    _answered("all tokens spent on thinking", "reasoning=100000", _R.OUTPUT_TRUNCATED),
    _answered("answer is not JSON", "malformed=broken_json", _R.OUTPUT_INVALID),
    _answered("wrong types", "malformed=wrong_types", _R.OUTPUT_INVALID),
    _answered("empty answer", "empty", _R.OUTPUT_INVALID),
)
"""One row for each fault, as most providers have it."""

DIFFERENT: dict[str, tuple[Row, ...]] = {
    **dict.fromkeys(
        ANTHROPIC,
        (
            # Too little money is a bad request to Anthropic.
            replace(_QUOTA, reason=_R.PROVIDER_REJECTED),
            _answered(_UNPARSED.fault, "json_validate_failed", _R.OUTPUT_INVALID),
        ),
    ),
    "gemini": (
        # A filtered prompt is an answer without candidates, and its tokens are billed.
        _answered(_FILTERED_PROMPT.fault, "content_filter", _R.CONTENT_REFUSED),
        _answered(_UNPARSED.fault, "json_validate_failed", _R.OUTPUT_INVALID),
        # Writing to its cache is not metered by tokens.
        replace(_CLASSES, scenario="cached=20,reasoning=7"),
    ),
    # Groq's answers have no field for a refusal.
    "groq": (replace(_REFUSED, reason=_R.OUTPUT_INVALID),),
}
"""Where a provider is not as most."""


def rows_of(provider: str) -> list[Row]:
    """Return the rows that hold for a provider."""
    own = {row.fault: row for row in DIFFERENT.get(provider, ())}
    return [own.get(row.fault, row) for row in ROWS]


def as_markdown() -> str:
    """Return the table for people, with equal providers in one line."""
    lines = [
        "| fault | provider | reason | attempts | charged | exposure |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for usual in ROWS:
        groups: dict[tuple[str, ...], list[str]] = {}
        for provider in MODELS:
            row = next(row for row in rows_of(provider) if row.fault == usual.fault)
            groups.setdefault(_cells(row), []).append(provider)
        largest = max(groups.values(), key=len)
        for cells, providers in groups.items():
            lines.append(_line(usual.fault, _names(providers, providers is largest), cells))
    return "\n".join(lines) + "\n"


def _names(providers: list[str], largest: bool) -> str:
    if len(providers) == len(MODELS):
        return "all"
    if largest:
        return "the others"
    if set(ANTHROPIC) <= set(providers):
        providers = [name for name in providers if name != ANTHROPIC[1]]
    return " and ".join(providers)


def _cells(row: Row) -> tuple[str, ...]:
    reason = f"`{row.reason}`" if row.reason else "(the model's values)"
    exposure = "nothing" if not row.exposed else "the quote"
    if row.exposed > 1:
        exposure = f"{row.exposed} times the quote"
    return reason, str(row.attempts), row.charge.value, exposure


def _line(fault: str, providers: str, cells: Iterable[str]) -> str:
    return "| " + " | ".join([fault, providers, *cells]) + " |"
