"""The wheel's layout: one package, ``creditgate``, made of the checkout's four folders.

A checkout imports ``runtime``, ``pricing``, ``fallback`` and ``providers`` by these names, which a
host may well use for packages of its own. So the wheel has them inside ``creditgate``, with
``creditgate.py`` as its ``__init__``, and the statements that import them say so: in each line that
begins, after its indentation, with ``from`` and one of the four names, ``creditgate.`` is put
before the name. Nothing else is rewritten; tests/unit/house/test_layout.py refuses what this rule
would miss, such as ``import runtime.config`` or a string that names a module.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "creditgate"
FOLDERS = ("runtime", "pricing", "fallback", "providers")
MODULES = {
    "__init__.py": "creditgate.py",
    # What `python -m creditgate` runs; in a checkout that is creditgate.py itself.
    "__main__.py": "runtime/cli/__main__.py",
}

_IMPORT = re.compile(rf"^([ \t]*from )(?=(?:{'|'.join(FOLDERS)})[. ])", re.MULTILINE)


def rewrite(source: str) -> str:
    """Return a module's source as the wheel has it.

    Example:
        >>> rewrite("from runtime.ids import ID_PATTERN")
        'from creditgate.runtime.ids import ID_PATTERN'
    """
    return _IMPORT.sub(rf"\g<1>{PACKAGE}.", source)


def files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file of the package, and its place in it."""
    for place, name in MODULES.items():
        yield root / name, place
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            inside = path.relative_to(root)
            ignored = any(part == "__pycache__" or part.startswith(".") for part in inside.parts)
            if path.is_file() and not ignored:
                yield path, inside.as_posix()
    yield root / "runtime" / "py.typed", "py.typed"


class PackageHook(BuildHookInterface[Any]):
    """Puts the rewritten package into the wheel. An editable install keeps the checkout as it is.

    Raises:
        FileNotFoundError: a folder of the package is not beside this file.
    """

    _written: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the package into a temporary folder and have it included."""
        if version != "standard":
            return
        root = Path(self.root)
        self._written = Path(tempfile.mkdtemp(prefix="creditgate-wheel-"))
        for path, place in files(root):
            written = self._written / place
            written.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".py":
                written.write_bytes(rewrite(path.read_bytes().decode()).encode())
            else:
                shutil.copyfile(path, written)
            build_data["force_include"][str(written)] = f"{PACKAGE}/{place}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary folder."""
        if self._written is not None:
            shutil.rmtree(self._written)
