"""A home for commands whose processes start quickly: one model, which is called without LiteLLM."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from tests.harness.command_line import Home

_CONFIG = """
version: 1
redis: {{url: "{redis}", key_prefix: "t{prefix}"}}
executions: {{reservation_ttl_ms: 6000}}
endpoints:
  mock: {{api_base: "{url}/v1"}}
plans:
  growth: {{ai_credits: true}}
models:
  quick: {{litellm_model: "{model}", endpoint: mock, class: quick}}
rate_cards:
  - version: "1"
    effective_from: 2026-01-01
    rates:
      quick: {{input: 20000, output: 80000}}
actions:
  route_message:
    model: quick
    user: "Route this message: {{{{ customer.message }}}}"
    outputs:
      urgency: {{type: single_select, options: [low, normal, high], fallback: normal}}
      reply: {{type: text, max_length: 500, fallback: "We will write to you."}}
    limits: {{max_output_tokens: 400, deadline_ms: 4000}}
"""


def lean_home(folder: Path, redis_url: str, mock_url: str, scenario: str = "") -> Home:
    """Return a home where what a killed process had reserved is free again after 6 seconds.

    ``scenario`` is what happens to each request that the mock provider gets from it.
    """
    config = _CONFIG.format(
        redis=redis_url,
        prefix=uuid.uuid4().hex[:12],
        url=mock_url,
        model=f"openai/gpt-4.1#{scenario}" if scenario else "openai/gpt-4.1",
    )
    (folder / "config.yaml").write_text(config, "utf-8")
    return Home(folder, mock_url)


def request_lines(count: int) -> str:
    """Return requests for so many people, as lines of JSON."""
    mark = uuid.uuid4().hex

    def fields(number: int) -> dict[str, Any]:
        return {
            "execution_id": f"journey-{number}:route_message:1",
            "account_id": "acme",
            "workspace_id": "retail",
            "campaign_id": "welcome",
            "person_id": f"p{number:05}",
            "action": "route_message",
            "data": {"customer": {"message": f"Where is my card, {mark} {number}?"}},
        }

    return "".join(json.dumps(fields(number)) + "\n" for number in range(count))
