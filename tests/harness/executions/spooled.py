"""Spool folders as tests see them."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path


def spooled_outcomes(folder: Path) -> list[bytes]:
    """The outcomes of all spooled endings, dead ones too."""
    paths = sorted([*folder.glob("*.json"), *folder.glob("dead/*.json")])
    return [b64decode(json.loads(path.read_text())["outcome"]) for path in paths]


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so that nobody tells."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - a folder tells nobody
            await asyncio.sleep(0.02)
