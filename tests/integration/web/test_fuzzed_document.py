"""Schemathesis over the whole document, against the service as it is served."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.harness.service import OpenService

SEED = 20_261_127
EXAMPLES = 10

# What the schema allows may be refused by a rule that no JSON Schema can say: a plan's name, an
# instant in the future, a whole number of packs. That it is a documented answer is checked.
NOT_CHECKED = "positive_data_acceptance"

# Each execution of a batch is answered by itself: a wrong one is a 422 within a 200. Examples of
# JSON Lines can't be sent by schemathesis; test_document.py sends them.
CONFIG = """
[[operations]]
include-name = "POST /v1/executions:batch"
checks.negative_data_rejection.enabled = false

[[operations]]
include-name = "POST /v1/campaigns/{campaign_id}/people"
phases.examples.enabled = false
"""


@pytest.mark.long
@pytest.mark.beside
@pytest.mark.timeout(600)
async def test_no_request_gets_an_answer_that_is_not_documented(
    open_service: OpenService, tmp_path: Path, refused_connections: list[str]
) -> None:
    def unlimited(config: dict[str, object]) -> None:
        config["service"] = {"requests_per_second": None}

    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    async with open_service(change=unlimited) as served:
        await served.open_account()
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{served.url}/openapi.json",
            "--header",
            f"Authorization:{served.operator.headers['Authorization']}",
            *("--max-examples", str(EXAMPLES)),
            *("--phases", "examples,coverage,fuzzing"),
            *("--mode", "all"),
            *("--exclude-checks", NOT_CHECKED),
            *("--seed", str(SEED)),
            "--continue-on-failure",
            "--no-shrink",
            *("--warnings", "off"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        text = output.decode()
        assert process.returncode == 0, text[-20_000:]
        document = (await served.operator.get("/openapi.json")).json()
        count = sum(len(methods) for methods in document["paths"].values())
        assert f"Tested: {count}" in text
    refused_connections.clear()  # destinations that were made up are sent their messages
