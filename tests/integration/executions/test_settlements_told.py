"""What the journal tells of a settlement: why outputs fell back, and which options were chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from runtime.credits.endings import Settlement, from_json, to_json
from runtime.credits.identity import Dimensions, Identity
from runtime.credits.journal import JournalEntry, Kind, parse
from tests.harness.workbench import ACCOUNT, OUTPUTS, OpenWorkbench, Workbench, action

TOPICS = {
    "type": "multi_select",
    "options": ["fees", "limits", "cards", "loans"],
    "fallback": ["fees"],
}
SPEC = action(outputs={"topics": TOPICS} | OUTPUTS)
GOOD = {"topics": ["loans", "limits"], "intent": "transfer", "score": 3, "reply": "Soon."}


class Writer:
    """A provider whose answer is the given object."""

    def __init__(self, answer: Mapping[str, object], finish: FinishReason) -> None:
        self._text, self._finish = json.dumps(answer), finish

    async def complete(self, request: CompletionRequest) -> Completion:
        return Completion(self._text, self._finish, TokenUsage(100, 20))

    async def aclose(self) -> None:
        pass


async def settled(bench: Workbench) -> JournalEntry:
    (name,) = (key for key in bench.keys.of_account(ACCOUNT) if key.endswith(":journal"))
    raw: Any = await bench.redis.xrange(name)
    names: dict[int, Dimensions] = {}
    entries = [parse(entry_id, fields, names) for entry_id, fields in raw]
    (found,) = [entry for entry in entries if entry.kind is Kind.SETTLED]
    return found


@pytest.mark.parametrize(
    "changes, finish, reason, choices",
    [
        ({}, FinishReason.STOP, None, ((0, 3), (0, 1), (1, 1))),
        ({"topics": []}, FinishReason.STOP, None, ((1, 1),)),
        (
            {"intent": "refund", "score": 99},
            FinishReason.STOP,
            FallbackReason.OUTPUT_INVALID,
            ((0, 3), (0, 1)),
        ),
        (
            {"topics": ["none"]},
            FinishReason.LENGTH,
            FallbackReason.OUTPUT_TRUNCATED,
            ((1, 1),),
        ),
        ({}, FinishReason.REFUSED, FallbackReason.CONTENT_REFUSED, ()),
    ],
    ids=["all by the model", "nothing chosen", "two invalid", "cut off", "refused"],
)
async def test_a_settlement_tells_why_outputs_fell_back_and_what_the_model_chose(
    open_bench: OpenWorkbench,
    changes: dict[str, object],
    finish: FinishReason,
    reason: FallbackReason | None,
    choices: tuple[tuple[int, int], ...],
) -> None:
    async with open_bench(provider=Writer(GOOD | changes, finish)) as bench:
        result = await bench.execute(SPEC)
        entry = await settled(bench)

    assert result.charged_mc > 0
    assert (entry.reason, entry.choices, entry.free_mc) == (reason, choices, 0)
    assert {origin.reason for origin in result.origins.values()} - {None} == {reason} - {None}


def test_the_spool_keeps_both_and_reads_what_release_0_1_wrote_without_them() -> None:
    attempt = Identity(b"an installation key").attempt(
        account_id=ACCOUNT,
        execution_id="journey-1:route:1",
        workspace_id="retail",
        campaign_id="welcome",
        person_id="person-1",
        action="route",
        source="live",
    )
    reason, choices = FallbackReason.OUTPUT_INVALID, ((0, 3), (1, 1))
    ending = Settlement(attempt, 1, 1, 1, "1", "v1", reason=reason, choices=choices)

    written = json.loads(json.dumps(to_json(ending)))
    assert from_json(written) == ending
    del written["reason"], written["choices"]
    assert from_json(written) == Settlement(attempt, 1, 1, 1, "1", "v1")
