"""The receipt of one execution in JSON types, with prompt and raw answer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runtime.actions.requests import ExecutionResult
from runtime.actions.spec import ActionSpec
from runtime.executions.execution import Execution


def receipt_json(
    action: ActionSpec, result: ExecutionResult, execution: Execution | None
) -> dict[str, Any]:
    """Return the receipt in JSON types; amounts are millicredits.

    ``execution`` is ``None`` if no prompt could be rendered or the model has no price.
    """
    receipt: dict[str, Any] = {"action": action.id, "result": result.to_json()}
    if execution is not None:
        completion = execution.progress.completion
        receipt |= {
            "model": execution.model.id,
            "prompt": execution.messages,
            "quote": asdict(execution.progress.quote),
            "lowered": execution.progress.lowered,
            "answer": None if completion is None else completion.text,
            "finish": None if completion is None else completion.finish.value,
            "provider_errors": [
                {"attempt": attempt, "text": text}
                for attempt, text in execution.progress.provider_texts.items()
            ],
        }
    return receipt
