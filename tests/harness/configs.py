"""A small config that is right, for tests to change."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runtime.config import Config, ConfigError, Mistake, parse_config

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

_RIGHT: dict[str, Any] = {
    "version": 1,
    "endpoints": {"mock": {"api_base": "http://127.0.0.1:8377/v1"}},
    "plans": {"growth": {"ai_credits": True}},
    "models": {"writer": {"litellm_model": "openai/x", "endpoint": "mock", "class": "quick"}},
    "rate_cards": [
        {
            "version": "first",
            "effective_from": "2026-01-01",
            "rates": {"writer": {"input": 1000, "output": 2000}},
        }
    ],
    "actions": {
        "greet": {
            "model": "writer",
            "user": "Greet {{ customer.name }}",
            "outputs": {"text": {"type": "text", "max_length": 50, "fallback": "Hello"}},
            "limits": {"max_output_tokens": 100},
        }
    },
}


def right() -> dict[str, Any]:
    """Return data of a config without a mistake."""
    return copy.deepcopy(_RIGHT)


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the data with another value at a path such as ``rate_cards.0.version``."""
    data: Any = right()
    *parents, last = path.split(".")
    place = data
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
    place[int(last) if isinstance(place, list) else last] = value
    return dict(data)


def load(
    config: dict[str, Any] | str,
    *,
    base_dir: Path | str = ".",
    environ: dict[str, str] | None = None,
) -> Config:
    """Load a config from YAML, or from data as the YAML that its JSON is."""
    text = config if isinstance(config, str) else json.dumps(config, indent=1)
    return parse_config(text, "c.yaml", base_dir, environ=environ or {}, now=NOW)


def found_in(config: dict[str, Any] | str) -> list[Mistake]:
    """Return the mistakes of a config that may have some."""
    try:
        load(config)
    except ConfigError as error:
        return error.mistakes or pytest.fail("a ConfigError without a mistake")
    return []


def mistakes_in(config: dict[str, Any] | str, **around: Any) -> list[Mistake]:
    """Return the mistakes of a config that must have some."""
    with pytest.raises(ConfigError) as raised:
        load(config, **around)
    return raised.value.mistakes


def only_mistake(config: dict[str, Any] | str, **around: Any) -> Mistake:
    """Return the mistake of a config that must have a single one."""
    [mistake] = mistakes_in(config, **around)
    return mistake
