"""Random choices, each of which hypothesis has drawn and can shrink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

# One draw a step: hypothesis takes longer over several than the ledger over the step itself.
BYTES = 64
draws = st.binary(min_size=BYTES, max_size=BYTES)


class Dice:
    """Drawn bytes, thrown one after another, and then zeros.

    Zeros give the first choice, where shrinking ends.
    """

    def __init__(self, drawn: bytes) -> None:
        self._drawn = iter(drawn)

    def below(self, number: int) -> int:
        return next(self._drawn, 0) % number

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def once_in(self, number: int) -> bool:
        return self.below(number) == number - 1
