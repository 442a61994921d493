"""One fault."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RUNTIME = Path("runtime")


@dataclass(frozen=True)
class Mutation:
    """`before`, which stands once in `file` (below `runtime/`), becomes `after`.

    `breaks` says what is then wrong. `noticed_by` is how the name of the test ends that notices it:
    what stands before tells which law it is about, and may change.
    """

    name: str
    file: str
    before: str
    after: str
    breaks: str
    noticed_by: str

    @property
    def path(self) -> Path:
        """The file's path in the project."""
        return RUNTIME / self.file

    def apply(self, root: Path) -> None:
        """Put the fault into the project at `root`."""
        text = (root / self.path).read_text("utf-8")
        assert text.count(self.before) == 1, f"{self.name}: {text.count(self.before)} places"
        # The file may be another copy's too, which stays as it is.
        (root / self.path).unlink()
        (root / self.path).write_text(text.replace(self.before, self.after), "utf-8")
