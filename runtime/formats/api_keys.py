"""Keys of the API in JSON types. Their secrets are not among what is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from runtime.api_keys.keys import Scope
from runtime.api_keys.stored import KeyRecord


def key_json(record: KeyRecord) -> dict[str, Any]:
    """Return a key in JSON types; ``used_at`` is true to about a minute."""
    key = record.key
    return {
        "key_id": key.key_id,
        "account_id": key.account_id,
        "name": key.name,
        "scopes": [scope.value for scope in Scope if scope in key.scopes],
        "created_at": _instant(record.created_ms),
        "created_by": record.created_by,
        "expires_at": _instant(record.expires_ms),
        "revoked_at": _instant(record.revoked_ms),
        "used_at": _instant(record.used_ms),
        "previous_until_at": _instant(record.previous_until_ms),
    }


def _instant(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    instant = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"
