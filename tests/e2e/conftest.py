"""The command line as real processes, with a real Redis and a real mock provider over HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.redis.embedded import EmbeddedRedis
from tests.harness.command_line import PATIENCE_S, Home, new_home
from tests.harness.paths import ROOT


@pytest.fixture(scope="session")
def redis_url(
    redis_server_program: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a real Redis."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis") / "data")
    with asyncio.Runner() as runner:
        runner.run(server.__aenter__())
        yield server.url
        runner.run(server.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def mock_url() -> Iterator[str]:
    """The address of a mock provider, a process of its own."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "runtime.cli", "mock-provider", "--json"),
            *("--port", "0", "--latency-median-ms", "20"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, "Ctrl-C ends it cleanly"


@pytest.fixture
def home(tmp_path: Path, redis_url: str, mock_url: str) -> Home:
    """A home of the test's own."""
    return new_home(tmp_path, redis_url, mock_url)
