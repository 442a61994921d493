"""Executions of a load: who pays, how long prompts and answers are, and the config for them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from typing import Any

from runtime.actions.requests import ExecutionRequest
from runtime.load.settings import LoadSettings, Span

WORKSPACE = "load"
CAMPAIGN = "load"
_MODEL = "load_model"
_ENDPOINT = "mock"
_PLAN = "load"
_KINDS = 5
"""Actions, each with answers of another length; one is drawn for each execution."""

_SYSTEM = "You answer messages that customers send to a shop. Be short and friendly."
_SYSTEM_TOKENS = 15
_CHARS_PER_TOKEN = 4.6
_JSON_TOKENS = 6
_CREDITS_PER_INPUT_TOKEN = 0.06
_CREDITS_PER_OUTPUT_TOKEN = 0.3
_PLENTY_MC = 1_000_000_000_000
_LEAST_GRANT_MC = 1_000

WORDS = [
    "card",
    "payment",
    "transfer",
    "account",
    "balance",
    "money",
    "shop",
    "yesterday",
    "today",
    "week",
    "month",
    "bank",
    "statement",
    "number",
    "name",
    "address",
    "phone",
    "message",
    "support",
    "question",
    "answer",
    "problem",
    "limit",
    "fee",
    "rate",
    "exchange",
    "currency",
    "cash",
    "machine",
    "purchase",
    "order",
    "delivery",
    "post",
    "letter",
    "email",
    "travel",
    "hotel",
    "flight",
    "ticket",
    "refund",
    "charge",
    "date",
    "time",
    "office",
    "branch",
    "customer",
    "service",
]
"""Words that are one token each, with the space before it, as o200k counts."""


class Workload:
    """Draws executions, in the order of a seed that each process has of its own.

    Args:
        process: the number of the process that runs them.
        action: the attributes that a service's own action reads; without them, the load's actions
            run.
    """

    def __init__(
        self, settings: LoadSettings, process: int = 0, attributes: tuple[str, ...] | None = None
    ) -> None:
        self._settings = settings
        self._process = process
        self._attributes = attributes
        self._chance = random.Random(f"{settings.seed}.{process}")  # noqa: S311 - no secret
        self._ids = settings.account_ids()
        self._weights = list(itertools.accumulate(settings.shares()))
        self._numbers = itertools.count()

    def next(self) -> ExecutionRequest:
        """Return the next execution; no two prompts are alike."""
        chance, settings = self._chance, self._settings
        number = next(self._numbers)
        [account_id] = chance.choices(self._ids, cum_weights=self._weights)
        action = settings.action or _action_id(chance.randrange(_KINDS))
        tokens = chance.randint(settings.prompt_tokens.least, settings.prompt_tokens.most)
        person = f"{settings.run_id}.{self._process}.{number}"
        return ExecutionRequest(
            execution_id=f"load-{person}:{action}:1",
            account_id=account_id,
            workspace_id=WORKSPACE,
            campaign_id=CAMPAIGN,
            person_id=f"load-{person}",
            action=action,
            data=self._data(tokens),
        )

    def _data(self, tokens: int) -> Mapping[str, Mapping[str, Any]]:
        if self._attributes is None:
            return {"customer": {"message": _text(self._chance, tokens - _SYSTEM_TOKENS)}}
        data: dict[str, dict[str, Any]] = {}
        for path in self._attributes:
            scope, _, name = path.partition(".")
            share = max(1, tokens // len(self._attributes))
            data.setdefault(scope, {})[name.partition(".")[0]] = _text(self._chance, share)
        return data


def expected_mc(settings: LoadSettings) -> float:
    """Return about what one execution of the load's own actions costs."""
    answer_tokens = settings.answer_tokens.mean + _JSON_TOKENS
    cost = (
        settings.prompt_tokens.mean * _CREDITS_PER_INPUT_TOKEN
        + answer_tokens * _CREDITS_PER_OUTPUT_TOKEN
    )
    answered = 1 - settings.error_rate**2  # a failed call is tried once more
    return cost * 1_000 * answered


def first_grants_mc(settings: LoadSettings) -> list[int]:
    """Return what each account begins with."""
    if settings.credits_mc is not None:
        return [settings.credits_mc] * settings.accounts
    if settings.scenario == "plenty" or settings.planned is None:
        return [_PLENTY_MC // settings.accounts] * settings.accounts
    half_mc = settings.planned * expected_mc(settings) / 2
    return [max(_LEAST_GRANT_MC, round(half_mc * share)) for share in settings.shares()]


def config_of(settings: LoadSettings, provider_url: str, key_prefix: str) -> dict[str, Any]:
    """Return the config of a load, as a file has it; its one endpoint is the mock provider."""
    return {
        "version": 1,
        "data_dir": "./data",
        "redis": {"url": "embedded", "key_prefix": key_prefix, "timeout_ms": 5_000},
        "endpoints": {
            _ENDPOINT: {
                "api_base": f"{provider_url}/v1",
                "max_concurrency": MOST_CALLS,
                # With many calls at once, a hundred failures in a row are a provider that is down.
                "breaker": {"failures": 100},
            }
        },
        "plans": {_PLAN: {"ai_credits": True}},
        "models": {
            _MODEL: {
                "litellm_model": "openai/gpt-4.1",
                "endpoint": _ENDPOINT,
                "class": "quick",
                "encoding": "o200k_base",
                "token_margin_percent": 5,
            }
        },
        "rate_cards": [
            {
                "version": "load",
                "effective_from": "2026-01-01",
                "rates": {
                    _MODEL: {
                        "input": round(_CREDITS_PER_INPUT_TOKEN * 1_000_000),
                        "output": round(_CREDITS_PER_OUTPUT_TOKEN * 1_000_000),
                    }
                },
            }
        ],
        "actions": {
            _action_id(kind): _action(tokens)
            for kind, tokens in enumerate(_lengths(settings.answer_tokens))
        },
    }


MOST_CALLS = 1_024
"""Calls of the mock provider that each process makes at once."""


def _lengths(span: Span) -> list[int]:
    steps = _KINDS - 1
    return [span.least + (span.most - span.least) * step // steps for step in range(_KINDS)]


def _action_id(kind: int) -> str:
    return f"load_{kind}"


def _action(answer_tokens: int) -> dict[str, Any]:
    least = round((answer_tokens - _JSON_TOKENS) * _CHARS_PER_TOKEN)
    return {
        "model": _MODEL,
        "system": _SYSTEM,
        "user": "{{ customer.message }}",
        "outputs": {
            "reply": {
                "type": "text",
                "description": "The reply to the customer",
                "min_length": max(1, least),
                "max_length": max(1, least) + 80,
                "fallback": "Thank you for your message. A colleague will answer it shortly. "
                * (1 + max(1, least) // 64),
            }
        },
        "limits": {
            "max_output_tokens": 2 * answer_tokens + 60,
            "min_output_tokens": answer_tokens + 40,
        },
    }


def _text(chance: random.Random, tokens: int) -> str:
    return " ".join(chance.choices(WORDS, k=max(1, tokens)))
