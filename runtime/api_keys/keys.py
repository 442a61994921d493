"""A key of the API: its text, what is stored of it, and what it allows."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

_PREFIX = "cgk"
_TEXT = re.compile(rf"{_PREFIX}_([A-Za-z0-9]{{16}})_([A-Za-z0-9_-]{{43}})")


class Scope(StrEnum):
    """A thing that a key allows."""

    EXECUTE = "execute"
    PREVIEW = "preview"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored; ``account_id`` is ``None`` for a key of the operator's."""

    key_id: str
    account_id: str | None
    name: str
    scopes: frozenset[Scope]

    def allows(self, scope: Scope) -> bool:
        """Return whether the key has this scope; ``admin`` has all of them."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """A key whose secret was right; it counts up to an instant, if there is one."""

    key: ApiKey
    until_ms: int | None

    def is_over(self, now_ms: int) -> bool:
        """Return whether it no longer counts at this instant."""
        return self.until_ms is not None and self.until_ms <= now_ms


def new_key_id() -> str:
    """Return an id for a new key."""
    return secrets.token_hex(8)


def new_key_text(key_id: str) -> str:
    """Return a key with a new secret of 256 random bits. It is shown once."""
    return f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"


def hash_of(text: str) -> str:
    """Return what is stored of a key."""
    # The secret has 256 random bits: a slow hash would protect nothing, and cost each request.
    return hashlib.sha256(text.encode()).hexdigest()


def parse_key(text: str) -> tuple[str, str] | None:
    """Return a key's id and its hash; ``None`` for text that is not a key."""
    found = _TEXT.fullmatch(text)
    return None if found is None else (found[1], hash_of(text))


def scopes_text(scopes: Collection[Scope]) -> str:
    """Return scopes as they are stored: in order, with spaces between them."""
    return " ".join(scope for scope in Scope if scope in scopes)


def scopes_of(text: str) -> frozenset[Scope]:
    """Return stored scopes; one that a newer release made allows nothing here."""
    known = set(Scope)
    return frozenset(Scope(name) for name in text.split() if name in known)


def now_ms() -> int:
    """Return the clock by which keys end, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
