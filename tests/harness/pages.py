"""The pages of the documentation, as tests read them."""

from __future__ import annotations

import re

from tests.harness.paths import ROOT


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language on a page."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def section(page: str, title: str, language: str) -> list[str]:
    """Return the fenced blocks of a language below a heading, up to the next heading."""
    text = (ROOT / page).read_text("utf-8")
    [found] = re.findall(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL
    )
    return re.findall(rf"^```{language}\n(.*?)^```", found, flags=re.MULTILINE | re.DOTALL)
