"""One process whose executions are retried again and again; see ``worker`` for its arguments."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from creditgate import open_runtime
from tests.harness.executions.worker import run_share
from tests.harness.workbench import action, make_config

ATTEMPTS = 10


def _without_breaker(config: dict[str, Any]) -> None:
    config["endpoints"]["mock"]["breaker"] = {"failures": 1_000}


async def main(
    data_dir: str, redis_url: str, key_prefix: str, api_base: str, name: str, count: str
) -> None:
    config = make_config(
        Path(data_dir),
        redis_url,
        key_prefix,
        api_base,
        timeout_ms=1_000,
        wait_ms=50_000,
        change=_without_breaker,
    )
    limits = {"deadline_ms": 30_000, "attempts": ATTEMPTS, "min_output_tokens": 120}
    async with open_runtime(config) as runtime:
        await run_share(runtime, action(limits=limits), name, int(count))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
