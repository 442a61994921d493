"""Names for what the requests of an action have in common, and a memory of the recent ones."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")

_MOST_SCHEMAS = 256


class Recent(Generic[_Key, _Value]):
    """A mapping of so many keys, of which the one that was not read for longest goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: OrderedDict[_Key, _Value] = OrderedDict()

    def __contains__(self, key: _Key) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: _Key) -> _Value | None:
        """Return the value, ``None`` if there is none."""
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key]

    def put(self, key: _Key, value: _Value) -> None:
        """Keep a value."""
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._most:
            self._items.popitem(last=False)

    def drop(self, key: _Key) -> None:
        """Forget a key."""
        self._items.pop(key, None)


class SchemaNames:
    """Names schemas by their contents; writes each out once, as long as it is the same object."""

    def __init__(self) -> None:
        # The schema is kept too: while it is, its id is nobody else's.
        self._names: Recent[int, tuple[dict[str, Any], str]] = Recent(_MOST_SCHEMAS)

    def name(self, schema: dict[str, Any] | None) -> str | None:
        """Return a text that is the same for equal schemas alone."""
        if schema is None:
            return None
        known = self._names.get(id(schema))
        if known is None:
            known = schema, json.dumps(schema)
            self._names.put(id(schema), known)
        return known[1]
