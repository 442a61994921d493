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

WHOLE = frozenset(("anthropic", "azure", "gemini", "groq", "mistral", "ollama_chat", "openai"))
"""One provider for each form of answers, and for each client that LiteLLM has."""
_SHARE = 8
_FEW = 263
_LARGE_BYTES = 100_000
_FAILING = tuple(status for status in STATUSES if status >= 400)
_COUNT = len(_FAILING)


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
        for status in ((400, 429, 200)[(number + turn) % 3], _FAILING[(number + turn) % _COUNT]):
            yield f"status {status}, {name}", reply(body, status)
    for number, header in enumerate(RETRY_AFTER):
        for status in (429, (503, 500, 529, 400)[(number + turn) % 4]):
            yield f"status {status}, {header[:40]!r}", reply({"error": {}}, status, header)


def share_of_cells(provider: str) -> list[tuple[str, Reply]]:
    """Return all replies for one provider of each kind, an eighth of them for each other one.

    So each reply is among those of several providers.
    """
    found = list(cells(provider))
    if provider in WHOLE:
        return found
    return [found[0], *found[1 + sorted(MODELS).index(provider) % _SHARE :: _SHARE]]


def few_cells(provider: str) -> list[tuple[str, Reply]]:
    """Return the good answer and some three other small replies, others for each provider."""
    found = [cell for cell in cells(provider) if len(cell[1].content) < _LARGE_BYTES]
    turn = sorted(MODELS).index(provider)
    return [found[0], *found[1 + turn * 7 % _FEW :: _FEW]]
