"""Mistakes in a configuration, and the error that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pricing.errors import CreditgateError


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a configuration, or one warning.

    ``line`` and ``column`` count from 1, and are ``None`` for a mistake of the file as a whole.
    ``path`` names the key, such as ``actions.greet.outputs.mood`` or ``rate_cards[0].rates``, and
    is empty for mistakes in the YAML itself. The message never holds a secret.
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
    """A configuration with mistakes. ``mistakes`` has all of them, in file order."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = list(mistakes)
