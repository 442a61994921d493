"""A workbench whose provider answers when the test says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from tests.harness.workbench import OpenWorkbench, Workbench

LONG_WAIT_MS = 20_000


class HeldProvider:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.calls = 0

    async def complete(self, request: CompletionRequest) -> Completion:
        self.calls += 1
        await self.answers.wait()
        answer = json.dumps({"intent": "card", "score": 1, "reply": "Soon."})
        return Completion(answer, FinishReason.STOP, TokenUsage(10, 10))

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def held(
    open_bench: OpenWorkbench, **options: Any
) -> AsyncIterator[tuple[Workbench, HeldProvider]]:
    """Open a bench on such a provider; whoever waits for credits waits long."""
    provider = HeldProvider()
    async with open_bench(provider=provider, **{"wait_ms": LONG_WAIT_MS} | options) as bench:
        yield bench, provider
