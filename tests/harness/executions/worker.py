"""One process of a race: executes its share at once and prints a line for each result.

python -m tests.harness.executions.worker DATA_DIR REDIS_URL KEY_PREFIX API_BASE NAME COUNT
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from creditgate import (
    ActionRuntime,
    ActionSpec,
    ExecutionRequest,
    ExecutionResult,
    open_runtime,
)
from tests.harness.workbench import ACCOUNT, action, make_config


async def main(
    data_dir: str, redis_url: str, key_prefix: str, api_base: str, name: str, count: str
) -> None:
    config = make_config(
        Path(data_dir), redis_url, key_prefix, api_base, timeout_ms=10_000, wait_ms=50_000
    )
    spec = action(limits={"deadline_ms": 60_000, "min_output_tokens": 120})
    async with open_runtime(config) as runtime:
        await run_share(runtime, spec, name, int(count))


async def run_share(runtime: ActionRuntime, spec: ActionSpec, name: str, count: int) -> None:
    """Say that all is ready, wait for a line, then execute for so many people at once."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)

    async def execute(number: int) -> None:
        person = f"{name}-{number}"
        result = await runtime.execute(
            ExecutionRequest(
                execution_id=f"{person}:route:1",
                account_id=ACCOUNT,
                workspace_id=f"workspace-{number % 3}",
                campaign_id="race",
                person_id=person,
                action=spec,
                data={"customer": {"message": f"Where is my card? I am {person}."}},
            )
        )
        assert isinstance(result, ExecutionResult), "nobody else has this id"
        reasons = sorted({str(o.reason) for o in result.origins.values() if o.reason})
        line = [result.status, result.charged_mc, reasons, result.kept]
        sys.stdout.write(json.dumps(line) + "\n")

    await asyncio.gather(*[execute(number) for number in range(count)])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
