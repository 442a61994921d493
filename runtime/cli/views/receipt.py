"""The receipt of one execution, with prompt and raw answer, as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from runtime.actions.requests import ExecutionResult
from runtime.actions.spec import ActionSpec
from runtime.cli.views.table import table
from runtime.executions.execution import Execution
from runtime.wording.amounts import credits_text
from runtime.wording.reasons import REASONS
from runtime.wording.runs import TOKEN_CLASSES, USAGE_ESTIMATED

_FORMS: dict[bool | str, str] = {
    True: "a JSON schema",
    False: "an instruction in the prompt",
    "json_object": "a JSON object, its schema in the prompt",
}


def receipt_lines(
    action: ActionSpec, result: ExecutionResult, execution: Execution | None
) -> Iterator[str]:
    """Yield the receipt: the prompt, its quote, the calls, the answer, the values, the costs."""
    yield f"Action {action.id}, version {result.action_version}"
    if execution is not None:
        yield from _prompt(execution)
        yield from _before(execution)
        yield from _calls(result, execution)
    yield ""
    yield "Values"
    yield from table([_value(result, output) for output in result.values])
    if result.detail:
        yield f"  ({result.detail})"
    yield ""
    yield "Costs"
    yield from _costs(result)
    completion = None if execution is None else execution.progress.completion
    if completion is not None and completion.usage is None:
        yield f"  {USAGE_ESTIMATED}"


def _prompt(execution: Execution) -> Iterator[str]:
    for message in execution.messages:
        yield ""
        yield f"Prompt, {message['role']}"
        yield from _indented(message["content"])


def _before(execution: Execution) -> Iterator[str]:
    quote, model = execution.progress.quote, execution.model
    form = _FORMS[model.json_schema]
    lowered = ", lowered to what the credits cover" if execution.progress.lowered else ""
    reserved = (
        "none" if execution.progress.reserved is None else credits_text(execution.reserved_mc)
    )
    yield ""
    yield "Before the call"
    yield from table(
        [
            ("model", f"{model.id} ({model.litellm_model}), answering by {form}"),
            ("input", f"at most {quote.input_tokens:,} tokens"),
            ("output", f"at most {quote.max_output_tokens:,} tokens{lowered}"),
            ("quote", f"at most {credits_text(quote.amount_mc)} credits"),
            ("reserved", f"{reserved} credits"),
            ("rate card", execution.card.version),
        ]
    )


def _calls(result: ExecutionResult, execution: Execution) -> Iterator[str]:
    if result.attempts:
        yield ""
        yield "Model calls"
    for attempt in result.attempts:
        status = f", status {attempt.status}" if attempt.status else ""
        detail = f": {attempt.detail}" if attempt.detail else ""
        yield f"  {attempt.number}. {attempt.outcome}{status} in {attempt.latency_ms:,} ms{detail}"
        if text := execution.progress.provider_texts.get(attempt.number):
            yield f"     the provider: {text}"
    if execution.progress.completion is not None:
        yield ""
        yield f"Raw answer, finish {execution.progress.completion.finish.value}"
        yield from _indented(execution.progress.completion.text)


def _value(result: ExecutionResult, output: str) -> tuple[str, str, str]:
    origin = result.origins[output]
    mark = origin.mark if origin.reason is None else f"{origin.mark}: {REASONS[origin.reason]}"
    return output, f"({mark})", json.dumps(result.values[output], ensure_ascii=False)


def _costs(result: ExecutionResult) -> Iterator[str]:
    rows: list[tuple[str, str]] = []
    if result.usage is not None:
        used = asdict(result.usage)
        rows = [(TOKEN_CLASSES[name], f"{count:,}") for name, count in used.items() if count]
    rows.append(("credits charged", credits_text(result.charged_mc)))
    if result.available_after_mc is not None:
        rows.append(("credits left", credits_text(result.available_after_mc)))
    rows.append(("milliseconds", f"{result.timings_ms.get('total', 0):,}"))
    yield from table(rows, right=(1,))


def _indented(text: str) -> Iterator[str]:
    for line in text.splitlines() or [""]:
        yield f"  | {line}"
