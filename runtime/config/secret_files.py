"""Files that secrets are in, and who else may read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.config.checks import Finding
from runtime.config.document import ValuePath
from runtime.files.private import use_by_everybody


def open_to_everybody(data: Mapping[str, Any], base_dir: Path) -> Iterator[Finding]:
    """Warn of each secret file that every user of the machine may read or change.

    No mistake, since some mounts of secrets into containers have no other mode.

    Args:
        data: the document, in which secrets are still references.
    """
    for path, reference in _references(data):
        if not isinstance(reference, dict) or not isinstance(reference.get("file"), str):
            continue
        try:
            file = base_dir / Path(reference["file"]).expanduser()
            use = use_by_everybody(file)
        except (OSError, RuntimeError, ValueError):
            continue  # reported already: it could not be read
        if use is not None:
            yield Finding(path, f"every user may {use} {file}: chmod 600 it", warning=True)


def _references(data: Mapping[str, Any]) -> Iterator[tuple[ValuePath, Any]]:
    yield ("installation_key",), data.get("installation_key")
    redis, endpoints = data.get("redis"), data.get("endpoints")
    if isinstance(redis, dict):
        yield ("redis", "password"), redis.get("password")
    for name, endpoint in endpoints.items() if isinstance(endpoints, dict) else ():
        if isinstance(endpoint, dict):
            for key in ("api_key", "proxy"):
                yield ("endpoints", name, key), endpoint.get(key)
