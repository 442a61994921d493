"""The table of replies for a provider: each answer and each fault, by name."""

from __future__ import annotations

from collections.abc import Iterator

from tests.harness.routes.asking import MODELS, answers_of, good_answer
from tests.harness.routes.comparing import Reply, reply
from tests.harness.routes.faults import (
    RETRY_AFTER,
    STATUSES,
    error_bodies,
    spoiled_bodies,
    wire_faults,
)

WHOLE = frozenset(
    (
        *("anthropic", "azure", "azure_ai", "deepseek", "gemini", "groq", "hosted_vllm"),
        *("mistral", "ollama", "ollama_chat", "openai", "openrouter", "together_ai", "xai"),
    )
)
"""The providers that LiteLLM has code of its own for, or a client of its own."""
_SHARE = 4
_SHORT = 41
_LARGE_BYTES = 100_000
_FAILING = tuple(status for status in STATUSES if status >= 400)


def cells(provider: str) -> Iterator[tuple[str, Reply]]:
    """Return every reply for a provider. Errors' bodies are spread over the statuses by turns."""
    model = MODELS[provider]
    good = good_answer(model)
    turn = sorted(MODELS).index(provider)
    yield from ((name, reply(body)) for name, body in answers_of(model))
    yield from ((f"body {name}", reply(body)) for name, body in spoiled_bodies(good))
    yield from wire_faults(good)
    elsewhere = b"Location: http://127.0.0.1:9/elsewhere"
    for status in STATUSES:
        body = good if status < 400 else {"error": {"message": "no", "code": status}}
        headers = (elsewhere,) if 300 <= status < 400 else ()
        yield f"status {status}", reply(body, status, *headers)
        yield f"status {status}, empty", reply(b"", status, *headers)
    for number, (name, body) in enumerate(error_bodies()):
        for status in (400, 429, _FAILING[(number + turn) % len(_FAILING)], 200):
            yield f"status {status}, {name}", reply(body, status)
    for number, header in enumerate(RETRY_AFTER):
        for status in (429, (503, 500, 529, 400)[(number + turn) % 4]):
            yield f"status {status}, {header[:40]!r}", reply({"error": {}}, status, header)


def share_of_cells(provider: str) -> list[tuple[str, Reply]]:
    """Return all replies for the providers that differ most, for others each fourth.

    Each reply is among those of ten others.
    """
    found = list(cells(provider))
    return found if provider in WHOLE else found[sorted(MODELS).index(provider) % _SHARE :: _SHARE]


def few_cells(provider: str) -> list[tuple[str, Reply]]:
    """Return the good answer and some ten to twenty other small replies, others by provider."""
    found = [cell for cell in cells(provider) if len(cell[1].content) < _LARGE_BYTES]
    turn = sorted(MODELS).index(provider)
    return [found[0], *found[1 + turn * 7 % _SHORT :: _SHORT]]
