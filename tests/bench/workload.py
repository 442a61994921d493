"""The reference action, and people whose messages all differ, so that no cache can help."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from creditgate import ActionSpec, ExecutionRequest
from runtime.load.workload import WORDS
from tests.bench.stage import ACCOUNT

_MODEL = "writer"
_INSTRUCTIONS = (
    "You sort messages that customers send to a bank's support team. Choose the one intent that "
    "fits best, judge how urgent it is for the customer, and write a short, friendly reply that "
    "says what happens next. Promise nothing. What the bank offers: "
)
_OUTPUTS: dict[str, Any] = {
    "intent": {
        "type": "single_select",
        "description": "What the message is about",
        "options": ["card", "transfer", "top_up", "exchange", "account", "other"],
        "fallback": "other",
    },
    "urgency": {
        "type": "single_select",
        "description": "How soon somebody should look at it",
        "options": ["low", "normal", "high"],
        "fallback": "normal",
    },
    "reply": {
        "type": "text",
        "description": "The reply to the customer",
        "max_length": 280,
        "fallback": "Thank you for your message. A colleague will answer it shortly.",
    },
}
_INSTRUCTION_TOKENS = 52


class Workload:
    """An action whose prompt has a fixed number of tokens, half of them the person's own.

    ``prompt_tokens`` are those of the two messages' texts, as o200k counts them, to within two
    in a hundred; the response schema and what surrounds messages come on top. ``first`` is the
    number of the first person, so that two workloads can have different people.
    """

    def __init__(self, prompt_tokens: int, first: int = 0) -> None:
        self._message_tokens = prompt_tokens // 2
        context = _text(random.Random(0), self._message_tokens - _INSTRUCTION_TOKENS)
        self.spec = ActionSpec.model_validate(
            {
                "id": "reference",
                "model": _MODEL,
                "system": _INSTRUCTIONS + context,
                "user": "{{ customer.message }}",
                "outputs": _OUTPUTS,
                "limits": {"max_output_tokens": 300},
            }
        )
        self._numbers = itertools.count(first)

    def people(self) -> Iterator[dict[str, Any]]:
        """Yield the data of ever new people."""
        for number in self._numbers:
            text = _text(random.Random(number), self._message_tokens)
            yield {"customer": {"person_id": f"p{number}", "message": text}}

    def request(self, data: dict[str, Any]) -> ExecutionRequest:
        """Return the request for one person."""
        person_id = data["customer"]["person_id"]
        return ExecutionRequest(
            execution_id=f"bench.{person_id}:reference:1",
            account_id=ACCOUNT,
            workspace_id="bench",
            campaign_id="bench",
            person_id=person_id,
            action=self.spec,
            data=data,
        )


def _text(chance: random.Random, tokens: int) -> str:
    return " ".join(chance.choices(WORDS, k=tokens))
