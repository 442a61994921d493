"""Runs an execution on a model that costs nothing: no ledger, no turn, no provider is asked."""

from __future__ import annotations

import time

from fallback.reasons import FallbackReason
from providers.base import FinishReason, Provider
from providers.errors import ProviderError
from runtime.actions import answers
from runtime.actions.requests import ExecutionResult
from runtime.executions.decision import judge
from runtime.executions.execution import Execution


async def run_unpaid(execution: Execution, provider: Provider) -> ExecutionResult:
    """Call the model once and return its values. Nothing is charged, kept or learned."""
    progress = execution.progress
    since_s = time.perf_counter()
    try:
        completion = await provider.complete(execution.completion_request())
    except ProviderError as error:
        return execution.not_kept(FallbackReason(f"provider_{error.kind}"))
    progress.timings.note("provider", since_s)
    progress.completion, progress.usage = completion, completion.usage
    parsed = answers.parse(
        completion.text,
        execution.spec.outputs,
        execution.request.data,
        after_thoughts=completion.after_thoughts,
        cut_off=completion.finish is FinishReason.LENGTH,
    )
    verdict = judge(parsed, completion.finish, lowered=False)
    detail = "; ".join(f"{name} {why}" for name, why in parsed.invalid.items()) or None
    resolved = execution.resolve(verdict.reason, verdict.answered)
    return execution.result(resolved, kept=False, detail=detail)
