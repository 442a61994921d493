"""The answer to a call for previews, in JSON types: each preview, each variant's totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.previews.receipt import receipt_json
from runtime.previews.running import Preview, PreviewOrder
from runtime.wording.previews import FREE, fallback_text
from runtime.wording.reasons import REASONS

TEXT_CHARS = 2_000_000
"""Of all prompts and raw answers in one answer; each preview gets an equal share."""


def report_json(order: PreviewOrder, previews: Sequence[Preview]) -> dict[str, Any]:
    """Return the whole answer; amounts are millicredits.

    Prompts and raw answers that are longer than their share of ``TEXT_CHARS`` are cut off, and
    marked: one answer must not hold up a process.
    """
    share = TEXT_CHARS // (2 * len(previews))
    left = [each.result.available_after_mc for each in previews]
    return {
        "free": order.free,
        "note": FREE if order.free else None,
        "variants": [
            _totals(number, variant.name, [one for one in previews if one.variant == number])
            for number, variant in enumerate(order.variants)
        ],
        "previews": [_preview(order, each, share) for each in previews],
        "charged_mc": sum(each.result.charged_mc for each in previews),
        "available_after_mc": min((mc for mc in left if mc is not None), default=None),
    }


def _totals(number: int, name: str, previews: Sequence[Preview]) -> dict[str, Any]:
    spec = previews[0].spec
    statuses = [each.result.status for each in previews]
    totals_ms = [each.result.timings_ms.get("total", 0) for each in previews]
    return {
        "variant": number,
        "name": name,
        "action": spec.id,
        "action_version": spec.version,
        "model": spec.model,
        "previews": len(previews),
        "from_model": statuses.count("model"),
        "mixed": statuses.count("mixed"),
        "fallback": statuses.count("fallback"),
        "quote_mc": sum(_quote_mc(each) for each in previews),
        "reserved_mc": sum(each.result.reserved_mc for each in previews),
        "charged_mc": sum(each.result.charged_mc for each in previews),
        "mean_ms": round(sum(totals_ms) / len(totals_ms)),
    }


def _preview(order: PreviewOrder, preview: Preview, share: int) -> dict[str, Any]:
    receipt = receipt_json(preview.spec, preview.result, preview.execution)
    result = receipt["result"]
    for origin in result["origins"].values():
        origin["because"] = origin["reason"] and REASONS[origin["reason"]]
    prompt, is_prompt_cut = _cut_messages(receipt.get("prompt"), share)
    answer = receipt.get("answer")
    return {
        "person": preview.person,
        "person_id": order.people[preview.person].person_id,
        "variant": preview.variant,
        "missing_attributes": list(preview.missing),
        "why": fallback_text(preview.result.origins),
        **receipt,
        "prompt": prompt,
        "answer": answer and answer[:share],
        "is_cut": is_prompt_cut or len(answer or "") > share,
    }


def _cut_messages(
    messages: list[dict[str, str]] | None, share: int
) -> tuple[list[dict[str, str]] | None, bool]:
    if messages is None:
        return None, False
    cut, left = [], share
    for message in messages:
        cut.append({**message, "content": message["content"][:left]})
        left -= len(cut[-1]["content"])
    return cut, sum(len(message["content"]) for message in messages) > share


def _quote_mc(preview: Preview) -> int:
    return 0 if preview.execution is None else preview.execution.progress.quote.amount_mc
