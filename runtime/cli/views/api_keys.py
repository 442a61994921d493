"""Keys of the API, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from runtime.api_keys.keys import Scope, now_ms
from runtime.api_keys.stored import KeyRecord
from runtime.cli.views.table import table


def made_lines(record: KeyRecord, secret: str) -> Iterator[str]:
    """Yield a new key, or one with a new secret, which is shown this once."""
    key = record.key
    owner = "the operator" if key.account_id is None else f"account {key.account_id}"
    yield f"Key {key.key_id} of {owner}, {key.name!r}: {_scopes(record)}."
    if record.previous_until_ms is not None:
        until = _instant(record.previous_until_ms)
        yield f"Its secret so far counts until {until} as well."
    yield "Keep the key now, it is shown this once:"
    yield ""
    yield f"  {secret}"


def keys_lines(records: Sequence[KeyRecord]) -> Iterator[str]:
    """Yield a table of keys, with the state of each."""
    if not records:
        yield "There are no keys."
        return
    rows = [
        (
            record.key.key_id,
            record.key.name,
            _scopes(record),
            _state(record),
            "never" if record.used_ms is None else _instant(record.used_ms),
        )
        for record in records
    ]
    yield from table([("key", "name", "scopes", "state", "last used (UTC)"), *rows])


def _scopes(record: KeyRecord) -> str:
    return ", ".join(scope for scope in Scope if scope in record.key.scopes)


def _state(record: KeyRecord) -> str:
    if record.revoked_ms is not None:
        return f"revoked {_instant(record.revoked_ms)}"
    if record.expires_ms is None:
        return "in force"
    if record.expires_ms <= now_ms():
        return f"expired {_instant(record.expires_ms)}"
    return f"in force until {_instant(record.expires_ms)}"


def _instant(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"
