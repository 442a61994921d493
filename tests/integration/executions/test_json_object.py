"""Servers that take no JSON Schema are asked for a JSON object, with the schema in the prompt."""

from __future__ import annotations

from typing import Any

from fallback.reasons import FallbackReason
from runtime.actions.requests import Source
from runtime.cli.views.receipt import receipt_lines
from tests.harness.workbench import OpenWorkbench, action, reasons

WORDS = {"customer": {"message": "Where is my card?"}}


def held_to_json(config: dict[str, Any]) -> None:
    config["models"]["other"]["json_schema"] = "json_object"


async def test_a_server_that_refuses_the_schema_answers_in_json_and_the_quote_holds(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(change=held_to_json, scenario="schema_refused") as bench:
        request = bench.request(source=Source.PREVIEW)
        refused, refusal = await bench.traced(request)
        result, trace = await bench.traced(bench.request(action(model="other"), data=WORDS))
        counters = bench.runtime.counters

    assert reasons(refused) == {FallbackReason.PROVIDER_REJECTED}
    assert "json_object" in refusal.progress.provider_texts[1]
    assert result.status == "model"
    assert result.usage is not None
    quoted, used = trace.progress.quote.input_tokens, result.usage.input_tokens
    assert used <= quoted <= 1.15 * used
    assert (counters.input_undercounted, counters.quote_exceeded) == (0, 0)
    assert '"additionalProperties":false' in trace.messages[0]["content"]
    lines = list(receipt_lines(action(), result, trace))
    assert any("answering by a JSON object, its schema in the prompt" in line for line in lines)


async def test_the_schema_in_the_prompt_is_paid_for(open_bench: OpenWorkbench) -> None:
    async with open_bench(change=held_to_json) as bench:
        with_schema = await bench.execute(action(model="other"), data=WORDS)
        in_words = await bench.execute(action(model="wordy"), data=WORDS)
    assert with_schema.usage is not None
    assert in_words.usage is not None
    assert with_schema.usage.input_tokens > in_words.usage.input_tokens
