"""The scenario: calls, prices, and the budget that pays for half of them.

One token costs one credit, whichever way it goes, so that a budget of tokens, of credits and of
millionths of a dollar are the same.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from creditgate import ActionSpec
from providers.mock.answers import MockModel
from providers.mock.openai import OPENAI
from providers.mock.options import MockOptions, Scenario
from providers.mock.wire import compact

MODEL = "gpt-4o-mini"
ACTION = "reply"
CALLERS = 64
FAULT_RATE = 0.02
LATENCY_MS = 100.0
KILL_AFTER_SHARE = 0.2
"""Of all calls: while the budget still pays."""
MARKED_SHARE = 0.35
ATTEMPTS = 8
"""Times that a caller sends a call whose connection is cut, or that still runs."""

_FAULTS = (500, 429, 503)
_CALL_ID = re.compile(r"call-\d{6}")
_SYSTEM = (
    "You answer questions that customers send to a bank's support team. Say in a few friendly "
    "sentences what happens next, and promise nothing that the team has not promised itself. "
    "Use plain words, no jargon, and no more than four sentences."
)

SPEC = ActionSpec.model_validate(
    {
        "id": ACTION,
        "model": "writer",
        "system": _SYSTEM,
        "user": "{{ customer.message }}",
        "outputs": {
            "reply": {"type": "text", "max_length": 400, "fallback": "We will come back to you."}
        },
        "limits": {"max_output_tokens": 160, "deadline_ms": 20_000, "attempts": 1},
    }
)


@dataclass(frozen=True)
class Plan:
    """The calls of one run.

    Args:
        calls: how many there are.
        kills: false for the control run, in which no process is killed.
    """

    calls: int
    kills: bool = True

    @property
    def ids(self) -> list[str]:
        """The calls' ids, in the order in which they are sent."""
        return [f"call-{number:06d}" for number in range(self.calls)]

    @property
    def marked(self) -> int:
        """The number of answered calls that rate and CPU are taken over, while there are credits."""
        return int(self.calls * MARKED_SHARE)

    @cached_property
    def budget(self) -> int:
        """The credits that pay for half of the calls."""
        model = MockModel(MockOptions())
        return sum(_cost(model, call_id) for call_id in self.ids) // 2


def data(call_id: str) -> dict[str, Any]:
    """Return what is known about the person of a call."""
    message = (
        f"This is about {call_id}. I ordered a new card two weeks ago and it has not come yet. "
        "The app says that it was sent. Can you tell me where it is, and what I can do until then?"
    )
    return {"customer": {"message": message}}


def completion(call_id: str, model: str = MODEL) -> dict[str, Any]:
    """Return the same call as a request in OpenAI's format."""
    schema = {"name": "answer", "strict": True, "schema": SPEC.json_schema}
    return {
        "model": model,
        "messages": SPEC.render(data(call_id)),
        "max_tokens": SPEC.limits.max_output_tokens,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }


def call_id_of(messages: list[dict[str, str]]) -> str | None:
    """Return the id of the call that a request is for."""
    found = _CALL_ID.search(" ".join(message["content"] for message in messages))
    return found.group() if found else None


def fault_of(call_id: str, visit: int) -> int | None:
    """Return the status that the provider answers a request with, unless it answers it.

    Only the first request of a call fails: whether it does must not depend on the system.
    """
    chance = random.Random(call_id)
    return chance.choice(_FAULTS) if visit == 1 and chance.random() < FAULT_RATE else None


def _cost(model: MockModel, call_id: str) -> int:
    body: Mapping[str, Any] = completion(call_id)
    answer = model.answer(OPENAI.read(compact(body).encode()), Scenario())
    return answer.input_tokens + answer.output_tokens
