"""What LiteLLM's import and use do to a process: nothing that can be seen from outside."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.routes.comparing import ROUTES

PROLOGUE = """
import asyncio, os, sys, threading

from tests.harness import network_guard
network_guard.install()
before = dict(os.environ)
modules = set(sys.modules)

from providers.base import CompletionRequest, Endpoint
from providers.mock.server import MockOptions, start
from tests.harness.routes.comparing import ROUTES

ROUTE = ROUTES[sys.argv[1]]
assert "litellm" not in sys.modules, "it is imported before it is needed"

def request(url, model="openai/gpt-4o-mini", text="Hello"):
    return CompletionRequest(
        model,
        Endpoint("main", api_key=None, api_base=url + "/v1"),
        [{"role": "user", "content": text}],
        max_output_tokens=20,
    )
"""

TWO_LOOPS = """
async def use(provider):
    server = await start(MockOptions())
    answers = await asyncio.gather(*(provider.complete(request(server.url)) for _ in range(5)))
    assert len({answer.text for answer in answers}) == 1
    translated = request(server.url, "mistral/mistral-small-latest")
    await asyncio.gather(*(provider.complete(translated) for _ in range(5)))
    await provider.aclose()
    await provider.aclose()
    await server.aclose()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left

provider = ROUTE()
asyncio.run(use(provider))
asyncio.run(use(provider))
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert not network_guard.REFUSED, network_guard.REFUSED
print("done")
"""

CANCELLED = """
MODELS = [
    "openai/gpt-4o-mini",
    "anthropic/claude-sonnet-4-5",
    "gemini/gemini-2.5-flash",
    "mistral/mistral-small-latest",
    "groq/llama-3.3-70b-versatile",
]
from concurrent.futures import ThreadPoolExecutor

async def main():
    # One thread, so that most calls are cancelled while they wait for it or run in it.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    server = await start(MockOptions())
    provider = ROUTE()
    await provider.complete(request(server.url))
    for round in range(40):
        calls = [
            asyncio.create_task(provider.complete(request(server.url, model)))
            for model in MODELS * 2
        ]
        await asyncio.sleep(0.001 * round)
        for call in calls:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(not isinstance(outcome, Exception) for outcome in outcomes), outcomes
    await provider.complete(request(server.url))
    await provider.aclose()
    await server.aclose()

asyncio.run(main())
print("done")
"""


async def run(script: str, route: str, folder: Path, *options: str) -> tuple[int | None, str, str]:
    """Run the script in a process of its own; return its exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *options,
        "-c",
        PROLOGUE + script,
        route,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 110)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.long
@pytest.mark.parametrize("route", ROUTES)
async def test_it_works_in_one_loop_after_another_and_leaves_no_trace(
    route: str, tmp_path: Path
) -> None:
    # LiteLLM reads such a file into the environment, if it is let.
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-of-the-file\nPLANTED=1\n")

    assert await run(TWO_LOOPS, route, tmp_path, "-W", "error") == (0, "done\n", "")


@pytest.mark.long
@pytest.mark.parametrize("route", ROUTES)
async def test_calls_that_are_cancelled_leave_no_noise(route: str, tmp_path: Path) -> None:
    assert await run(CANCELLED, route, tmp_path) == (0, "done\n", "")
