"""The bounds of one rendering: loop rounds, sizes of values, and the CPU of its thread.

Prompts are rendered on the event loop, so that one which takes long would keep all other
executions waiting. Counted bounds come first, for they are the same on every machine; the CPU
bound is for what slips through them.
"""

from __future__ import annotations

import time
from typing import Any

from liquid.exceptions import ResourceLimitError

TEXT_LIMIT = 1_000_000
"""The most characters of a prompt, and of each text that its template reads or makes."""

SIZE_LIMIT = 1_000_000
"""The largest list or object that a template reads or makes: the sum of its texts, its names, and
``VALUE_SIZE`` for each value in it."""
VALUE_SIZE = 20

DEPTH_LIMIT = 64
"""The most levels of lists and objects in each other."""

ROUNDS_LIMIT = 10_000
"""The most rounds of all loops of a rendering together, and the most numbers in a range."""

WRITTEN_LIMIT = 4 * TEXT_LIMIT
"""The most characters that a rendering writes, captures included."""

CPU_LIMIT_S = 0.040
"""The most CPU time of the thread. No step between two looks at the clock takes more than 10 ms, so
that a rendering never holds the event loop for more than 50 ms."""

_STEPS_BETWEEN = 100
"""Steps, a microsecond each or so, between two looks at the clock."""
_SIZE_PER_STEP = 1_000


class TooLarge(ResourceLimitError):
    """A rendering reached a bound. The message names it and holds no data."""

    def __init__(self, bound: str) -> None:
        super().__init__(bound, token=None)
        self.bound = bound


def size_of(value: object) -> int:
    """Return the size of a value, in characters: see ``SIZE_LIMIT``.

    Raises:
        TooLarge: it is larger than a template may read, or nested too deeply.
    """
    if isinstance(value, str):
        _check_text(len(value))
        return len(value)
    if not isinstance(value, (list, tuple, dict)):
        return VALUE_SIZE
    size, depth = VALUE_SIZE, 0
    level: list[Any] = [value]
    while level:
        depth += 1
        if depth > DEPTH_LIMIT:
            raise TooLarge(f"a value is nested more than {DEPTH_LIMIT} levels deep")
        inner: list[Any] = []
        for container in level:
            size += VALUE_SIZE * len(container)
            _check_size(size)  # before its items are looked at, and each list of them kept
            items = container
            if isinstance(container, dict):
                size += sum(len(name) for name in container if isinstance(name, str))
                items = container.values()
            for item in items:
                if isinstance(item, str):
                    size += len(item)
                elif isinstance(item, (list, tuple, dict)):
                    inner.append(item)
            _check_size(size)
        level = inner
    return size


def _check_text(length: int) -> None:
    if length > TEXT_LIMIT:
        raise TooLarge(f"a text has more than {TEXT_LIMIT:,} characters")


def _check_size(size: int) -> None:
    if size > SIZE_LIMIT:
        raise TooLarge(
            f"a list or an object takes more than {SIZE_LIMIT:,} characters, "
            f"where each value counts {VALUE_SIZE}"
        )


class Budget:
    """The room that a rendering has left; the prompts of an action share one.

    Used up, its methods raise ``TooLarge``.
    """

    __slots__ = ("_cleaned", "_ends_s", "_rounds", "_sizes", "_steps", "_written")

    def __init__(self) -> None:
        self._ends_s = time.thread_time() + CPU_LIMIT_S
        self._steps = _STEPS_BETWEEN
        self._rounds = 0
        self._written = 0
        # By identity. The values are kept too, for the id of one that is gone is used again.
        self._sizes: dict[int, tuple[object, int]] = {}
        self._cleaned: dict[int, tuple[object, object]] = {}

    def step(self, steps: int = 1) -> None:
        """Count work: about a microsecond a step."""
        self._steps -= steps
        if self._steps < 0:
            self._steps = _STEPS_BETWEEN
            if time.thread_time() > self._ends_s:
                raise TooLarge(f"it takes more than {CPU_LIMIT_S * 1000:.0f} ms of CPU time")

    def rounds(self, count: int) -> None:
        """Count the rounds of a loop that begins."""
        self._rounds += count
        if self._rounds > ROUNDS_LIMIT:
            raise TooLarge(f"its loops make more than {ROUNDS_LIMIT:,} rounds")

    def write(self, length: int) -> None:
        """Count written characters."""
        self._written += length
        if self._written > WRITTEN_LIMIT:
            raise TooLarge(f"it writes more than {WRITTEN_LIMIT:,} characters, captures included")
        self.step(1 + length // _SIZE_PER_STEP)

    def read(self, value: object) -> None:
        """Count the work of whatever goes through a value once."""
        self.step(self.size(value) // _SIZE_PER_STEP)

    def size(self, value: object) -> int:
        """Return ``size_of`` a value; lists and objects are measured once."""
        if not isinstance(value, (list, tuple, dict)):
            return size_of(value)
        known = self._sizes.get(id(value))
        if known is None:
            known = self._sizes[id(value)] = (value, size_of(value))
            self.step(known[1] // VALUE_SIZE // 4)
        return known[1]

    def without_nulls(self, value: object) -> object:
        """Return ``without_nulls`` of a value; lists and objects are gone through once."""
        if type(value) not in _NESTING:
            return value
        known = self._cleaned.get(id(value))
        if known is None:
            self.step(self.size(value) // VALUE_SIZE // 4)
            known = (value, without_nulls(value))
            self._cleaned[id(value)] = known
            self._cleaned[id(known[1])] = (known[1], known[1])
        return known[1]


def without_nulls(value: Any) -> Any:
    """Return a list or an object without the nulls in it, at any depth; itself if it has none."""
    kind = type(value)
    if kind is list or kind is tuple:
        kept = [without_nulls(item) for item in value if item is not None]
        if len(kept) == len(value) and all(a is b for a, b in zip(kept, value, strict=True)):
            return value
        return kept
    if kind is dict:
        left = {name: without_nulls(item) for name, item in value.items() if item is not None}
        if len(left) == len(value) and all(left[name] is value[name] for name in left):
            return value
        return left
    return value


_NESTING = frozenset({list, tuple, dict})
