"""The settings of a load, and the rules that they keep."""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from runtime.ids import is_strict_id

MOST_PROCESSES = 64
MOST_CONCURRENCY = 10_000
MOST_RATE = 100_000
MOST_ACCOUNTS = 10_000
MOST_SECONDS = 24 * 3_600
MOST_EXECUTIONS = 10_000_000
"""Executions that a load may plan; its records take some 100 bytes each on disk and in memory."""

LEAST_PROMPT_TOKENS = 50
MOST_PROMPT_TOKENS = 50_000
LEAST_ANSWER_TOKENS = 10
MOST_ANSWER_TOKENS = 5_000

_SHARES = ("error_rate", "malformed_rate", "refusal_rate", "usage_missing_rate")
_SPAN = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")


class LoadRefused(ValueError):
    """A load that can't be run; the message says why and what is allowed."""


class Scenario(StrEnum):
    """The credits that accounts begin with, and whether they get more.

    With ``PLENTY`` they never run out. With ``RUN_DRY`` they pay for about half of the executions,
    with ``TOP_UP`` too, but accounts that run low are given as much again.
    """

    PLENTY = "plenty"
    RUN_DRY = "run-dry"
    TOP_UP = "top-up"


@dataclass(frozen=True, slots=True)
class Span:
    """A range of lengths in tokens, both ends included."""

    least: int
    most: int

    @property
    def mean(self) -> float:
        """The middle of the range."""
        return (self.least + self.most) / 2

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least}-{self.most}"

    @classmethod
    def read(cls, text: str) -> Span:
        """Return the range that a text like ``400`` or ``200-800`` names.

        Raises:
            LoadRefused: the text is not one.
        """
        found = _SPAN.fullmatch(text.strip())
        if found is None:
            raise LoadRefused(f"found {text!r}; write it like 400 or 200-800")
        least = int(found[1])
        return cls(least, least if found[2] is None else int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """A load: how many executions, of whom, on which model.

    Args:
        rate: executions a second of all processes together, started at their time whatever the
            others take (an open loop).
        concurrency: callers of all processes together, each with one execution at a time (a closed
            loop). One of the two is given.
        seconds: how long executions are started.
        processes: processes that run executions, or send them to a service.
        accounts: accounts that pay.
        skew: the exponent of Zipf's law: the share of account n is proportional to 1 / n ** skew.
            0 shares evenly.
        prompt_tokens: tokens of a prompt's text, drawn evenly from the range.
        answer_tokens: tokens of an answer, about.
        scenario: what the accounts have.
        credits_mc: what each account begins with, in place of what the scenario gives it.
        latency_ms: the mock provider's median, and ``latency_sigma`` its spread.
        error_rate: the share of calls that fail with status 500, 429 or 503; the other shares are
            of answers that break their schema, are refusals, or tell no usage.
        seed: the same seed makes the same executions.
        action: an action of the service's own config, where the load goes to a service.
        run_id: names the load: its accounts are ``load-<run_id>-<n>``.
    """

    rate: float | None = None
    concurrency: int | None = None
    seconds: float = 30.0
    processes: int = 1
    accounts: int = 20
    skew: float = 1.0
    prompt_tokens: Span = Span(200, 600)
    answer_tokens: Span = Span(30, 90)
    scenario: Scenario = Scenario.PLENTY
    credits_mc: int | None = None
    latency_ms: float = 200.0
    latency_sigma: float = 0.3
    error_rate: float = 0.0
    malformed_rate: float = 0.0
    refusal_rate: float = 0.0
    usage_missing_rate: float = 0.0
    seed: int = 0
    action: str | None = None
    run_id: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.concurrency is None):
            raise LoadRefused("give one of --rate and --concurrency")
        if self.rate is not None:
            _check("--rate", self.rate, 0.01, MOST_RATE)
        if self.concurrency is not None:
            _check("--concurrency", self.concurrency, 1, MOST_CONCURRENCY)
        _check("--duration", self.seconds, 1, MOST_SECONDS)
        _check("--processes", self.processes, 1, MOST_PROCESSES)
        _check("--accounts", self.accounts, 1, MOST_ACCOUNTS)
        _check("--skew", self.skew, 0, 10)
        _check("--latency-ms", self.latency_ms, 0, 600_000)
        _check("--latency-sigma", self.latency_sigma, 0, 5)
        for name in _SHARES:
            _check(f"--{name.replace('_', '-')}", getattr(self, name), 0, 1)
        _check_span("--prompt-tokens", self.prompt_tokens, LEAST_PROMPT_TOKENS, MOST_PROMPT_TOKENS)
        _check_span("--answer-tokens", self.answer_tokens, LEAST_ANSWER_TOKENS, MOST_ANSWER_TOKENS)
        if self.concurrency is not None and self.concurrency < self.processes:
            raise LoadRefused(
                f"--processes: {self.processes} processes can't share {self.concurrency} caller"
                f"{'s' * (self.concurrency != 1)}; --concurrency must be at least as many"
            )
        if (planned := self.planned) is not None and planned > MOST_EXECUTIONS:
            raise LoadRefused(
                f"--rate and --duration: that is {planned:,} executions, at most "
                f"{MOST_EXECUTIONS:,} are allowed"
            )
        if self.planned == 0:
            raise LoadRefused("--rate and --duration: that is not even one execution")
        self._check_credits()
        if is_strict_id(self.account_id(0)) is None:
            raise LoadRefused(f"run_id: found {self.run_id!r}")

    def _check_credits(self) -> None:
        if self.scenario is Scenario.PLENTY or self.credits_mc is not None:
            return
        if self.rate is None or self.action is not None:
            why = "nobody knows beforehand how many executions --concurrency makes"
            if self.action is not None:
                why = "nobody knows beforehand what the service's action costs"
            raise LoadRefused(
                f"--scenario {self.scenario}: {why}; say with --credits what each account begins "
                "with"
            )

    @property
    def planned(self) -> int | None:
        """The number of executions that are started; ``None`` in a closed loop."""
        return None if self.rate is None else math.floor(self.rate * self.seconds + 1e-9)

    def account_id(self, number: int) -> str:
        """Return the id of an account, from 0."""
        return f"load-{self.run_id}-{number}"

    def account_ids(self) -> list[str]:
        """Return the ids of all accounts, the most used one first."""
        return [self.account_id(number) for number in range(self.accounts)]

    def shares(self) -> list[float]:
        """Return the share of the executions that each account has."""
        weights = [1 / (number + 1) ** self.skew for number in range(self.accounts)]
        whole = sum(weights)
        return [weight / whole for weight in weights]

    def to_json(self) -> dict[str, Any]:
        """Return all settings in JSON types; ``of_json`` reads them."""
        return {
            **asdict(self),
            "prompt_tokens": str(self.prompt_tokens),
            "answer_tokens": str(self.answer_tokens),
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> LoadSettings:
        """Return the settings that ``to_json`` has made JSON of."""
        known = {one.name for one in fields(cls)}
        return cls(
            **{
                **{name: value for name, value in found.items() if name in known},
                "prompt_tokens": Span.read(found["prompt_tokens"]),
                "answer_tokens": Span.read(found["answer_tokens"]),
                "scenario": Scenario(found["scenario"]),
            }
        )


def _check(name: str, value: float, least: float, most: float) -> None:
    # Written so that nan is refused too.
    if not least <= value <= most:
        raise LoadRefused(f"{name}: found {value:g}, allowed are {least:g} to {most:,g}")


def _check_span(name: str, span: Span, least: int, most: int) -> None:
    if not least <= span.least <= span.most <= most:
        raise LoadRefused(
            f"{name}: found {span}, allowed are {least} to {most:,}, as 400 or 200-800"
        )
