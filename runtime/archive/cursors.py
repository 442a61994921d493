"""Cursors of pages: where the next one begins, and which query that is a page of."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from runtime.archive.errors import CursorRefused

_VERSION = 1
_CURSOR = re.compile(r"([1-9][0-9]{0,15})\.([0-9a-f]{24})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Query:
    """A query whose answer has pages. Instants are milliseconds since 1970, ``None`` for no bound.

    Args:
        installation: what tells the installation from others.
        from_ms: the first instant that belongs to it.
        to_ms: the first instant after it.
    """

    installation: str
    account_id: str
    from_ms: int | None
    to_ms: int | None
    newest_first: bool

    def cursor(self, seq: int) -> str:
        """Return the cursor of the page that goes on behind entry ``seq``."""
        return f"{seq}.{self._digest(seq)}"

    def behind(self, cursor: str) -> int:
        """Return the sequence behind which the page of a cursor goes on.

        Raises:
            CursorRefused: it was not made for this query.
        """
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise CursorRefused(f"{cursor!r} is not a cursor; use the one that a page ended with")
        seq = int(found[1])
        if found[2] != self._digest(seq):
            raise CursorRefused(
                "the cursor is of another query: use it with the account, times and order of the "
                "page that it ended, in the same installation"
            )
        return seq

    def _digest(self, seq: int) -> str:
        plain = json.dumps([_VERSION, seq, asdict(self)], sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()[:24]
