"""The version of a configuration: processes that run the same one do the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from runtime.config.sections import Config

# Where a process finds its data and its certificates may differ from host to host.
_OF_THE_HOST: Mapping[str, Any] = {
    "data_dir": True,
    "installation_key": True,
    "redis": True,
    "endpoints": {"__all__": {"ca_file": True}},
}
_BY_NAME = ("endpoints", "plans", "models", "actions")


def config_version(config: Config) -> str:
    """Return 12 hex digits that differ where two configurations act differently.

    Secrets do not count, and neither do ``redis``, ``data_dir``, ``installation_key`` and
    ``ca_file``. A field with its default value counts as left out, so a release that adds one
    changes no version.
    """
    found = config.model_dump(mode="json", exclude=dict(_OF_THE_HOST), exclude_defaults=True)
    for name in _BY_NAME:
        found[name] = sorted(found.get(name, {}).items())
    text = json.dumps(found, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
