"""References: what was done under each of them, for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

Answer = tuple[object, ...]


@dataclass
class References:
    """``by_name``: kind of operation, then what is compared, then the first answer."""

    by_name: dict[str, tuple[dict[str, object], Answer]] = field(default_factory=dict)

    def first_answer(self, reference: str, **compared: object) -> Answer | None:
        """What was answered first, or the conflict with it; ``None`` if the reference is new.

        A word that the two have in common is compared in the order given, ``kind`` first.
        """
        if reference not in self.by_name:
            return None
        stored, answer = self.by_name[reference]
        for name, value in compared.items():
            if stored[name] != value:
                return ("reference_conflict", name, stored[name])
        return answer

    def keep(self, reference: str, answer: Answer, **compared: object) -> None:
        self.by_name[reference] = (compared, answer)
