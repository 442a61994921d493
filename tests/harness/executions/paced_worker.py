"""One process of several at an endpoint: executes its share at once, prints how each one ended.

It calls the mock provider without LiteLLM, whose import takes longer than all that is tested here.

python -m tests.harness.executions.paced_worker \\
    DATA_DIR REDIS_URL KEY_PREFIX API_BASE NAME COUNT MORE_OF_THE_ENDPOINT [DEADLINE_MS]
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp

from creditgate import open_runtime
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from providers.errors import FailureKind, Rejected
from tests.harness.executions.worker import run_share
from tests.harness.workbench import action, make_config


class PlainProvider:
    """Speaks OpenAI's chat completions, as far as is needed here."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def complete(self, request: CompletionRequest) -> Completion:
        body: dict[str, Any] = {
            "model": request.litellm_model.partition("/")[2],
            "messages": request.messages,
            "max_tokens": request.max_output_tokens,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": request.response_schema},
            },
        }
        url = f"{request.endpoint.api_base}/chat/completions"
        async with self._session.post(url, json=body) as response:
            if response.status != 200:
                raise Rejected(FailureKind.ERROR, "failed", retryable=True, status=response.status)
            answer = await response.json()
        usage = TokenUsage(answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"])
        return Completion(answer["choices"][0]["message"]["content"], FinishReason.STOP, usage)

    async def aclose(self) -> None:
        """The session is its owner's."""


async def main(
    data_dir: str,
    redis_url: str,
    key_prefix: str,
    api_base: str,
    name: str,
    count: str,
    endpoint: str,
    deadline_ms: str = "60000",
) -> None:
    config = make_config(Path(data_dir), redis_url, key_prefix, api_base, endpoint=endpoint)
    spec = action(limits={"deadline_ms": int(deadline_ms), "attempts": 4})
    async with (
        aiohttp.ClientSession() as session,
        open_runtime(config, provider=PlainProvider(session)) as runtime,
    ):
        await run_share(runtime, spec, name, int(count))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
