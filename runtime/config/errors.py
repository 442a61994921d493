"""Mistakes in a configuration, with their positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pricing.errors import CreditgateError


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong, or (as a warning) soon will be.

    ``line`` and ``column`` count from 1 and are ``None`` where the file as a whole is meant.
    ``path`` names the key, as in ``actions.greet.outputs.mood`` or ``rate_cards[0].rates``, and
    is empty for mistakes of the YAML itself. The message never holds a secret.
    """

    file: str
    line: int | None
    column: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(CreditgateError):
    """A configuration that cannot be used. ``mistakes`` has all that is wrong, in file order."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = list(mistakes)
