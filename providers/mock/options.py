"""Options of the mock provider, and the scenarios that a request can name."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from pricing.tokens import ENCODINGS
from providers.mock.hostile import HONEST, KINDS, Hostility


class Transport(StrEnum):
    """Answers that break HTTP or JSON, or never end."""

    HANG = "hang"
    SLOW_HEADERS = "slow_headers"
    DRIP = "drip"
    RESET = "reset"
    RESET_EARLY = "reset_early"
    HUGE = "huge"
    NOT_JSON = "not_json"


class AnswerKind(StrEnum):
    """The content of an answer with status 200."""

    GOOD = "answered"
    TRUNCATED = "truncated"
    REFUSAL = "refusal"
    FILTERED = "filtered"
    EMPTY = "empty"
    BROKEN_JSON = "broken_json"
    WRONG_TYPES = "wrong_types"
    UNKNOWN_OPTION = "unknown_option"
    PROMPT_BLOCKED = "prompt_blocked"


MALFORMED = (
    AnswerKind.BROKEN_JSON,
    AnswerKind.WRONG_TYPES,
    AnswerKind.UNKNOWN_OPTION,
    AnswerKind.EMPTY,
)


class UsageKind(StrEnum):
    """The way in which an answer reports its tokens.

    With ``XAI``, reasoning counts only towards the total, not towards the output tokens.
    """

    REPORTED = "reported"
    MISSING = "missing"
    ZERO = "zero"
    XAI = "xai"


_MAY_RUN = frozenset({408, 500, 502, 504, 520, 521, 522, 523, 524})
"""Statuses after which a model may have run. The mock assumes the worst: that it did."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer with an error status. ``word`` distinguishes errors that share a status."""

    status: int
    word: str | None = None
    retry_after_s: float | None = None

    @property
    def retry_after(self) -> str | None:
        """The seconds as they are sent; infinitely many are a number that overflows."""
        if self.retry_after_s is None:
            return None
        return "9" * 400 if self.retry_after_s == math.inf else f"{self.retry_after_s:g}"

    @property
    def ran(self) -> bool:
        """True if the model ran, and is billed, despite the error."""
        return self.status in _MAY_RUN or self.word in _RAN


NAMED_FAILURES = {
    "insufficient_quota": Failure(429, "insufficient_quota"),
    "context_length_exceeded": Failure(400, "context_length_exceeded"),
    "content_filter": Failure(400, "content_filter"),
    "json_validate_failed": Failure(400, "json_validate_failed"),
}
"""Failures by name, as OpenAI and compatible providers send them."""

# Azure bills prompts that its filter stopped, Anthropic filters what the model has written, and
# Groq checks what it has written against the schema.
_RAN = frozenset({"content_filter", "json_validate_failed"})


@dataclass(frozen=True, slots=True)
class Scenario:
    """The treatment of one request: a broken transport, else a failure, else an answer.

    ``times`` limits it to the first so many times that the same request comes; ``None`` means
    always. Token counts and a delay of ``None`` follow the options. With ``refuses_schema``,
    requests with a JSON Schema as their response format fail, as with servers that know only
    ``json_object``.
    """

    transport: Transport | None = None
    failure: Failure | None = None
    answer: AnswerKind = AnswerKind.GOOD
    usage: UsageKind = UsageKind.REPORTED
    cached_tokens: int | None = None
    cache_write_tokens: int = 0
    reasoning_tokens: int | None = None
    delay_ms: float | None = None
    times: int | None = None
    hostile: Hostility = HONEST
    refuses_schema: bool = False


class ScenarioError(ValueError):
    """A scenario that can't be read; the message names the word and what is allowed."""


def parse_scenario(text: str) -> Scenario:
    """Read a scenario: words and ``key=value`` pairs, separated by commas.

    ``status=CODE``, ``retry_after=SECONDS``, ``insufficient_quota``, ``content_filter``,
    ``context_length_exceeded``, ``json_validate_failed``, ``schema_refused``; ``hang``,
    ``slow_headers``, ``drip``, ``reset``, ``reset_early`` (before the request is read), ``huge``
    (50 MB), ``not_json``;
    ``malformed=KIND``, ``empty``, ``truncated``, ``refusal``, ``filtered``; ``usage=missing``,
    ``usage=zero``, ``usage=xai``; ``cached=TOKENS``, ``cache_write=TOKENS``,
    ``reasoning=TOKENS``; ``delay_ms=MS``; ``times=N``; ``retry_after=huge``, and the hostile ones
    in ``hostile.KINDS``.

    Raises:
        ScenarioError: an unknown word, or a value that is not allowed.
    """
    scenario = Scenario()
    for item in filter(None, (part.strip() for part in text.split(","))):
        word, equals, value = item.partition("=")
        if equals and word in _SETTINGS:
            scenario = _SETTINGS[word](scenario, item, value)
        elif not equals and word in NAMED_FAILURES:
            scenario = replace(scenario, failure=NAMED_FAILURES[word])
        elif not equals and word == "schema_refused":
            scenario = replace(scenario, refuses_schema=True)
        elif not equals and word in list(Transport):
            scenario = replace(scenario, transport=Transport(word))
        elif not equals and word in ("empty", "truncated", "refusal", "filtered"):
            scenario = replace(scenario, answer=AnswerKind(word))
        else:
            raise ScenarioError(f"scenario: found {item!r}, allowed are {_ALLOWED_WORDS}")
    return scenario


def _set_status(scenario: Scenario, item: str, value: str) -> Scenario:
    status = _whole_number(item, value, least=400, most=599)
    waits = scenario.failure.retry_after_s if scenario.failure else None
    return replace(scenario, failure=Failure(status, retry_after_s=waits))


def _set_retry_after(scenario: Scenario, item: str, value: str) -> Scenario:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if value == "huge":
        seconds = math.inf
    elif not 0 <= seconds < math.inf:
        raise ScenarioError(
            f"scenario: found {item!r}, allowed are a number of seconds from 0, and huge"
        )
    return replace(
        scenario, failure=replace(scenario.failure or Failure(429), retry_after_s=seconds)
    )


def _set_choice(name: str, choices: tuple[Any, ...]) -> Callable[[Scenario, str, str], Scenario]:
    def set_it(scenario: Scenario, item: str, value: str) -> Scenario:
        if value not in choices:
            raise ScenarioError(f"scenario: found {item!r}, allowed are {', '.join(choices)}")
        changes: dict[str, Any] = {name: choices[choices.index(value)]}
        return replace(scenario, **changes)

    return set_it


def _set_hostile(name: str) -> Callable[[Scenario, str, str], Scenario]:
    def set_it(scenario: Scenario, item: str, value: str) -> Scenario:
        if value not in KINDS[name]:
            raise ScenarioError(f"scenario: found {item!r}, allowed are {', '.join(KINDS[name])}")
        changes: dict[str, Any] = {name: value}
        return replace(scenario, hostile=replace(scenario.hostile, **changes))

    return set_it


def _set_number(name: str, least: int = 0) -> Callable[[Scenario, str, str], Scenario]:
    def set_it(scenario: Scenario, item: str, value: str) -> Scenario:
        changes: dict[str, Any] = {name: _whole_number(item, value, least=least, most=10**9)}
        return replace(scenario, **changes)

    return set_it


def _whole_number(item: str, value: str, *, least: int, most: int) -> int:
    number = int(value) if value.isascii() and value.isdigit() else -1
    if not least <= number <= most:
        raise ScenarioError(f"scenario: found {item!r}, allowed is a number from {least} to {most}")
    return number


_SETTINGS: dict[str, Callable[[Scenario, str, str], Scenario]] = {
    "status": _set_status,
    "retry_after": _set_retry_after,
    "malformed": _set_choice("answer", MALFORMED),
    "usage": _set_choice("usage", tuple(UsageKind)),
    "cached": _set_number("cached_tokens"),
    "cache_write": _set_number("cache_write_tokens"),
    "reasoning": _set_number("reasoning_tokens"),
    "delay_ms": _set_number("delay_ms"),
    "times": _set_number("times", least=1),
    **{name: _set_hostile(name) for name in KINDS},
}
_ALLOWED_WORDS = ", ".join(
    [
        *NAMED_FAILURES,
        "schema_refused",
        *Transport,
        "empty, truncated, refusal, filtered",
        *(f"{word}=..." for word in _SETTINGS),
    ]
)


@dataclass(frozen=True)
class MockOptions:
    """The behaviour of the mock provider. Rates and shares are between 0 and 1.

    Args:
        host: the address to listen on; loopback by default.
        port: 0 takes a free port.
        seed: the same seed and messages give the same answer.
        latency_median_ms: the median delay before each answer, errors included.
        latency_sigma: the sigma of lognormal latencies; 0 always takes the median.
        error_rate: the share of requests answered with one of ``error_statuses``.
        malformed_rate: the share of answers of one of the kinds in ``MALFORMED``.
        refusal_rate: the share of answers that are refusals.
        usage_missing_rate: the share of answers that report no token usage.
        cached_tokens_share: the share of each prompt that is reported as read from a cache.
        reasoning_tokens: reasoning tokens of each answer, a part of its output.
        reasoning_sigma: the sigma of lognormal reasoning tokens; 0 always takes the number.
        api_key: the key that each request must carry, if given.
        scenario: the scenario of each request that names none itself; see ``parse_scenario``.
        encoding: the encoding that tokens are counted by; one of ``pricing.tokens.ENCODINGS``.

    Raises:
        ValueError: an option is not allowed; the message names it and what is allowed.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    latency_median_ms: float = 0.0
    latency_sigma: float = 0.0
    error_rate: float = 0.0
    error_statuses: tuple[int, ...] = (500, 429, 503)
    malformed_rate: float = 0.0
    refusal_rate: float = 0.0
    usage_missing_rate: float = 0.0
    cached_tokens_share: float = 0.0
    reasoning_tokens: int = 0
    reasoning_sigma: float = 0.0
    api_key: str | None = field(default=None, repr=False)
    scenario: str | None = None
    encoding: str = "o200k_base"

    def __post_init__(self) -> None:
        for name in (
            "error_rate",
            "malformed_rate",
            "refusal_rate",
            "usage_missing_rate",
            "cached_tokens_share",
        ):
            self._check_range(name, 0, 1)
        self._check_range("port", 0, 65_535)
        self._check_range("latency_median_ms", 0, 3_600_000)
        self._check_range("latency_sigma", 0, 5)
        self._check_range("reasoning_tokens", 0, 1_000_000)
        self._check_range("reasoning_sigma", 0, 5)
        if not self.error_statuses or not all(400 <= code <= 599 for code in self.error_statuses):
            raise ValueError(f"error_statuses: found {self.error_statuses}, allowed are 400 to 599")
        if self.encoding not in ENCODINGS:
            allowed = ", ".join(ENCODINGS)
            raise ValueError(f"encoding: found {self.encoding!r}, allowed are {allowed}")
        if self.scenario is not None:
            parse_scenario(self.scenario)

    def draw(self, chance: random.Random) -> Scenario:
        """Draw the scenario of a request that names none, by the rates."""
        if chance.random() < self.error_rate:
            return Scenario(failure=Failure(chance.choice(self.error_statuses)))
        answer = AnswerKind.GOOD
        if chance.random() < self.malformed_rate:
            answer = chance.choice(MALFORMED)
        elif chance.random() < self.refusal_rate:
            answer = AnswerKind.REFUSAL
        missing = chance.random() < self.usage_missing_rate
        return Scenario(answer=answer, usage=UsageKind.MISSING if missing else UsageKind.REPORTED)

    def draw_latency_ms(self, chance: random.Random) -> float:
        """Draw the latency of one request, in milliseconds."""
        return self.latency_median_ms * math.exp(self.latency_sigma * chance.gauss(0.0, 1.0))

    def draw_reasoning_tokens(self, chance: random.Random) -> int:
        """Draw the reasoning tokens of one request."""
        return round(self.reasoning_tokens * math.exp(self.reasoning_sigma * chance.gauss(0, 1)))

    def _check_range(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name}: found {value!r}, allowed is {least:,} to {most:,}")
