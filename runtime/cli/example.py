"""Where the example config is."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "demo_data" / "config.example.yaml"
"""It comes with the package; in the sources this is a link to the one at their top."""
