"""The page that lists every configuration key, read as data."""

from __future__ import annotations

import re

from tests.harness.paths import ROOT

REFERENCE = ROOT / "docs" / "configuration.md"

Row = tuple[str, str, str, str]
"""Section, key, type, default."""


def rows_in_reference() -> list[Row]:
    """Return the rows of all tables, by the heading that they stand under."""
    found: list[Row] = []
    section = ""
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"#+ (.*)", line):
            section = heading[1].replace("`", "").replace("Top level", "")
        if row := re.match(r"\| `([a-z_]+)` \| (.+?) \| (.+?) \| .+ \|$", line):
            found.append((section, row[1], row[2], row[3]))
    return found
