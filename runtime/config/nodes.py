"""The nodes of a YAML text, bounded in number and depth."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import Node
from ruamel.yaml.scanner import Scanner

MOST_NODES = 100_000
"""The most keys, values and aliases of a config. Each takes some 40 µs and 1 kB to read."""
MOST_LEVELS = 64
MOST_TAG_CHARS = 200


class BeyondBound(MarkedYAMLError):
    """A text has more than may be read of it. ``problem`` says what, and names the bound."""


class Nodes:
    """Reads the nodes of several texts, which share the bound on their number."""

    def __init__(self) -> None:
        self.left = MOST_NODES

        class Bounded(_BoundedComposer):
            nodes = self

        self._composer = Bounded

    def compose(self, text: str, name: str) -> Node | None:
        """Return the root node of a text; ``None`` if it holds nothing.

        Args:
            name: is kept in the marks of all nodes.

        Raises:
            BeyondBound: there are more than ``MOST_NODES`` in all texts, or more than
                ``MOST_LEVELS`` within each other, a tag has more than ``MOST_TAG_CHARS``, or a
                ``%TAG`` directive makes short tags long.
            YAMLError: the text is not YAML.
        """
        stream = io.StringIO(text)
        stream.name = name
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner = _BoundedScanner
        yaml.Composer = self._composer  # type: ignore[assignment]  # declared as the class itself
        root: Node | None = yaml.compose(stream)
        return root


class _BoundedScanner(Scanner):
    def scan_tag(self) -> Any:
        token = super().scan_tag()
        _, suffix = token.value
        # Resolving a tag takes the square of its length.
        if len(suffix) > MOST_TAG_CHARS:
            problem = f"a tag of more than {MOST_TAG_CHARS} characters"
            raise BeyondBound(problem=problem, problem_mark=token.start_mark)
        return token


class _BoundedComposer(Composer):
    nodes: Nodes

    def __init__(self, loader: Any) -> None:
        super().__init__(loader)
        # YAML 1.2 allows it, and a warning would end on the screen.
        self.warn_double_anchors = False

    def compose_document(self) -> Any:
        if self.parser.peek_event().tags:
            self._refuse("a %TAG directive is not supported")
        return super().compose_document()

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.nodes.left -= 1
        if self.nodes.left < 0:
            self._refuse(f"more than {MOST_NODES:,} keys, values and aliases in a config")
        if self.depth >= MOST_LEVELS:
            self._refuse(f"nested more than {MOST_LEVELS} levels deep")
        return super().compose_node(parent, index)

    def _refuse(self, problem: str) -> None:
        raise BeyondBound(problem=problem, problem_mark=self.parser.peek_event().start_mark)
