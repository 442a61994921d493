"""The end of a call over OpenAI's format."""

from __future__ import annotations

import json
from typing import Any

from tests.peers.accounting import Ended, Kind


def read_answer(status: int, body: bytes, *, refused: tuple[bytes, ...]) -> Ended:
    """Return what an answer says.

    Args:
        refused: any of these in the body of an error says that the budget is used up.
    """
    if status == 200:
        answer: dict[str, Any] = json.loads(body)
        if answer.get("choices"):
            return Ended(Kind.ANSWERED, answer["usage"]["total_tokens"])
        return Ended(Kind.BROKEN, detail=_short(status, body))
    if any(word in body for word in refused):
        return Ended(Kind.REFUSED, detail=_short(status, body))
    told = status in (429, 500, 502, 503) and b"was told to fail" in body
    return Ended(Kind.FAILED if told else Kind.BROKEN, detail=_short(status, body))


def _short(status: int, body: bytes) -> str:
    return f"{status} {body[:300].decode(errors='replace')}"
