"""Where the example config is: it comes with the package, and lies at the top of the sources."""

from __future__ import annotations

from pathlib import Path

NAME = "config.example.yaml"


def example_path() -> Path:
    """Return the path of the example config, of an installed package or of the sources."""
    package = Path(__file__).parents[1]
    installed = package / "demo_data" / NAME
    return installed if installed.is_file() else package.parent / NAME
