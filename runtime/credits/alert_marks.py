"""The alert marks that one account has in place of the configured ones."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.credits.checks import MOST_MARKS, check_cap_marks, check_marks


@dataclass(frozen=True, slots=True)
class AlertMarks:
    """The alert marks of one account, in place of the configured ones.

    ``low`` and ``caps`` are as ``LedgerSettings`` has them: ``p20``, ``a5000``, ``c80``.

    Raises:
        ValueError: a mark is not allowed, or they are more than 20.
    """

    low: tuple[str, ...] = ()
    caps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_marks(self.low)
        check_cap_marks(self.caps)
        if len(self.low) + len(self.caps) > MOST_MARKS:
            found = len(self.low) + len(self.caps)
            raise ValueError(f"alert marks: found {found}, allowed are at most {MOST_MARKS}")

    @property
    def text(self) -> str:
        """The marks as the account's record has them."""
        return ",".join(dict.fromkeys((*self.low, *self.caps)))

    @classmethod
    def of(cls, text: str) -> AlertMarks:
        """Return the marks of a record."""
        marks = [mark for mark in text.split(",") if mark]
        return cls(
            tuple(mark for mark in marks if mark[0] != "c"),
            tuple(mark for mark in marks if mark[0] == "c"),
        )
