"""LiteLLM Proxy as a process, installed into an environment of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import aiohttp

from tests.bench.conditions import say
from tests.harness.paths import ROOT

MODEL = "writer"
KEY = "sk-bench"
BUDGET = "a custom auth hook with max_budget"
"""How calls are counted against a budget there: its database takes Prisma's engines, which come
from no registry."""

_START_S, _END_S, _ASK_S = 180.0, 10.0, 0.5
_CONFIG = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{api_base}", api_key: none}}
general_settings: {{custom_auth: custom_auth.user_api_key_auth}}
litellm_settings: {{num_retries: 0, request_timeout: 30}}
"""
_AUTH = """
from litellm.proxy._types import UserAPIKeyAuth


async def user_api_key_auth(request, api_key):
    return UserAPIKeyAuth(api_key=api_key, user_id="bench", max_budget=1_000_000.0)
"""


def installed() -> Path:
    """Return the environment's folder of programs; make it first where it is not there yet.

    It has the version of LiteLLM that this project has, from pip's configured index.
    """
    wanted = f"litellm[proxy]=={version('litellm')}"
    folder = ROOT / ".tools" / "litellm-proxy"
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"installing {wanted} into {folder.relative_to(ROOT)} ...")
        venv.create(folder, with_pip=True)
        python = folder / "bin" / "python"
        command = [str(python), "-m", "pip", "install", "--quiet", wanted]
        subprocess.run(command, check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return folder / "bin"


@asynccontextmanager
async def open_proxy(api_base: str, core: int) -> AsyncIterator[str]:
    """Start the proxy with one worker, on one core; yield its address."""
    programs = installed()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="litellm-proxy-") as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(_CONFIG.format(model=MODEL, api_base=api_base))
        (folder / "custom_auth.py").write_text(_AUTH)
        process = await asyncio.create_subprocess_exec(
            str(programs / "litellm"),
            *("--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)),
            *("--num_workers", "1", "--telemetry", "False"),
            cwd=folder,
            env=os.environ
            | {
                "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_LOG": "ERROR",
            },
            stdout=sys.stderr,
            stderr=sys.stderr,
            start_new_session=True,
        )
        os.sched_setaffinity(process.pid, {core})
        url = f"http://127.0.0.1:{port}"
        try:
            await _answers(url, process)
            yield url
        finally:
            if process.returncode is None:
                process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _answers(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_START_S), aiohttp.ClientSession() as session:
        while process.returncode is None:
            with suppress(aiohttp.ClientError):
                async with session.get(f"{url}/health/liveliness") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(_ASK_S)
    raise RuntimeError("LiteLLM Proxy did not start")
