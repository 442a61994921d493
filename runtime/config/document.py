"""YAML 1.2 files, read into plain data with the position of every value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from runtime.config.errors import ConfigError, Mistake
from runtime.config.nodes import BeyondBound, Nodes
from runtime.files.bounded import FileTooLarge, read_bounded

ValuePath = tuple[str | int, ...]
"""The keys and list indices that lead to a value."""

_TAG = "tag:yaml.org,2002:"
MOST_BYTES = 1_000_000
"""The most bytes of a config with all that it includes: YAML of that size takes seconds to read."""
MOST_FILES = 100

# Aliases can multiply a small file into billions of values.
_MOST_VALUES = 100_000
# A number with more digits than this before or after the point is a typing mistake, and turning it
# into an integer could take all memory.
_MOST_DIGITS = 30
# Escapes in quoted text can produce these; UTF-8 and file systems cannot hold them.
_UNFIT = re.compile("[\0\ud800-\udfff]")
_UNFIT_TEXT = "holds a NUL character or half of a surrogate pair, which cannot be stored"
_TOO_LARGE = f"a config may take at most {MOST_BYTES:,} bytes, with all that it includes"


@dataclass(frozen=True, slots=True)
class Mark:
    """A position; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(slots=True)
class Document:
    """The data of a file and of the files that it includes.

    Numbers with a point are ``Decimal``, dates are text. ``broken`` has the paths of values that
    ``mistakes`` reports already; they are ``None`` in ``data``.
    """

    data: dict[str, Any] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    broken: set[ValuePath] = field(default_factory=set)
    files: list[str] = field(default_factory=list)
    _keys: dict[ValuePath, Mark] = field(default_factory=dict)
    _values: dict[ValuePath, Mark] = field(default_factory=dict)
    _literals: set[ValuePath] = field(default_factory=set)

    def mistake(
        self, path: ValuePath, message: str, *, at_key: bool = False, text_line: int | None = None
    ) -> Mistake:
        """Return a mistake at the value (or key) of ``path``, or of its nearest known parent.

        ``text_line`` is the line within a text (from 1). The mistake is placed at that line if the
        text is a literal block (``|``), whose lines are lines of the file.
        """
        known = path
        while known and known not in self._values:
            known = known[:-1]
        exact = known == path
        # A value that is not in the file is reported at the key of its parent.
        marks = self._keys if at_key or not exact else self._values
        mark = marks.get(known, self._values[known])
        if text_line is not None and path in self._literals:
            mark = Mark(mark.file, mark.line + text_line, 1)
        return Mistake(mark.file, mark.line, mark.column, show_path(path), message)

    def note(
        self, path: ValuePath, key: Mark | None, value: Mark, *, literal: bool = False
    ) -> None:
        """Remember the positions of a value and of its key."""
        self._values[path] = value
        if literal:
            self._literals.add(path)
        if key is not None:
            self._keys[path] = key

    def key_mark(self, path: ValuePath) -> Mark:
        """Return the position of the key of ``path``."""
        return self._keys[path]


def show_path(path: ValuePath) -> str:
    """Return a path as people write it: ``rate_cards[0].rates``."""
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else part
    return shown


def read_document(text: str | None, origin: Path | str, base_dir: Path) -> Document:
    """Read a file, or ``text`` in its place, and the files that it includes.

    Args:
        text: the text to read; ``None`` reads the file ``origin``.
        origin: the name for messages.
        base_dir: the folder that ``include`` is relative to.

    Raises:
        ConfigError: some files are unusable: they cannot be read, are not UTF-8 or not YAML, or do
            not hold a mapping. The message names them all. Mistakes within a file that can be
            read are left in the document.
    """
    files = _Files()
    if text is None:
        files.add_file(Path(origin), str(origin))
    else:
        files.add_text(text, str(origin), base_dir, ())
    if files.unreadable:
        raise ConfigError([*files.unreadable, *files.mistakes])
    document = Document(files=files.names, mistakes=files.mistakes)
    _Builder(document).build(files.merged())
    return document


class _Files:
    """The root nodes of a file and of what it includes."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.mistakes: list[Mistake] = []
        self.unreadable: list[Mistake] = []
        self._room = MOST_BYTES
        self._nodes = Nodes()
        self._roots: list[MappingNode] = []
        self._seen: set[Path] = set()

    def add_file(self, path: Path, name: str, chain: tuple[Path, ...] = ()) -> None:
        if len(self.names) >= MOST_FILES:
            self._refuse(name, None, f"a config may have at most {MOST_FILES} files")
            return
        try:
            raw = read_bounded(path, self._room)
        except FileTooLarge:
            self._refuse(name, None, _TOO_LARGE)
            return
        except (OSError, ValueError) as error:
            why = (getattr(error, "strerror", None) or "cannot be read").lower()
            if isinstance(error, FileNotFoundError):
                why += "; start from the example: cp config.example.yaml config.yaml"
            self._refuse(name, None, why)
            return
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = raw[: error.start].decode("utf-8-sig", errors="ignore")
            self._refuse(name, before, f"byte 0x{raw[error.start]:02x} is not UTF-8")
            return
        self.add_text(text, name, path.parent, (*chain, path.resolve()))

    def add_text(self, text: str, name: str, base_dir: Path, chain: tuple[Path, ...]) -> None:
        self.names.append(name)
        self._room -= len(text.encode("utf-8", "surrogatepass"))
        if self._room < 0:
            self._refuse(name, None, _TOO_LARGE)
            return
        self._seen.update(chain[-1:])
        root = self._compose(text, name)
        if root is None:
            return
        if not isinstance(root, MappingNode):
            self._refuse(name, "", f"must be a mapping of sections, found {_kind(root)}")
            return
        includes = [(key, node) for key, node in root.value if _name(key) == "include"]
        root.value = [(key, node) for key, node in root.value if _name(key) != "include"]
        self._roots.append(root)
        for key, node in includes:
            for entry in node.value if isinstance(node, SequenceNode) else [node]:
                mark = _mark((key if _is_absent(entry) else entry).start_mark)
                self._include(entry, mark, base_dir, chain)

    def merged(self) -> MappingNode:
        """Return one mapping, in which sections of several files are merged entry by entry."""
        first = self._roots[0]
        pairs: list[tuple[Node, Node]] = list(first.value)
        for root in self._roots[1:]:
            indices = {_name(key): i for i, (key, _) in reversed(list(enumerate(pairs)))}
            for key, node in root.value:
                index = indices.get(_name(key))
                joined = None if index is None else _joined(pairs[index][1], node)
                if index is None or joined is None:
                    pairs.append((key, node))
                else:
                    pairs[index] = (pairs[index][0], joined)
        return MappingNode(first.tag, pairs, first.start_mark, first.end_mark)

    def _include(self, entry: Node, mark: Mark, base_dir: Path, chain: tuple[Path, ...]) -> None:
        def refuse(message: str) -> None:
            self.mistakes.append(Mistake(mark.file, mark.line, mark.column, "include", message))

        if not isinstance(entry, ScalarNode) or entry.tag != f"{_TAG}str" or not entry.value:
            refuse(f"must be a file name or a list of them, found {_kind(entry)}")
            return
        if _UNFIT.search(entry.value):
            refuse(_UNFIT_TEXT)
            return
        path = base_dir / entry.value
        target = path.resolve()
        if target in chain:
            names = [file.name for file in (*chain[chain.index(target) :], target)]
            refuse(f"files include each other: {' -> '.join(names)}")
        elif target in self._seen:
            refuse(f"{entry.value!r} is included twice")
        elif not target.is_file():
            refuse(f"there is no file {path}")
        else:
            self.add_file(path, str(path), chain)

    def _compose(self, text: str, name: str) -> Node | None:
        if version := re.search(r"^%YAML[ \t]+(?!1\.2\s)(\S*)", text, re.MULTILINE):
            found = f"must be YAML 1.2, found a %YAML {version[1]} directive"
            self._refuse(name, text[: version.start()], found)
            return None
        try:
            root = self._nodes.compose(text, name)
        except MarkedYAMLError as error:
            at = error.problem_mark or error.context_mark
            mark = Mark(name, 1, 1) if at is None else _mark(at)
            problem = ", ".join(part for part in (error.context, error.problem) if part)
            if not isinstance(error, BeyondBound):
                problem = f"YAML: {problem}"
            self.unreadable.append(Mistake(name, mark.line, mark.column, "", problem))
        except ReaderError as error:
            found = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
            self._refuse(name, text[: error.position], found)
        except YAMLError as error:
            self._refuse(name, None, f"YAML: {type(error).__name__}")
        else:
            if root is not None and not _is_absent(root):
                return root
            self._refuse(name, None, "is empty; it needs at least `version: 1` and `plans`")
        return None

    def _refuse(self, name: str, before: str | None, message: str) -> None:
        """Report a file that cannot be used; ``before`` is its text up to the mistake."""
        line = column = None
        if before is not None:
            line = before.count("\n") + 1
            column = len(before) - before.rfind("\n")
        self.unreadable.append(Mistake(name, line, column, "", message))


class _Builder:
    """Turns nodes into data and notes the position of each."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = 0
        self._open: set[int] = set()

    def build(self, root: MappingNode) -> None:
        self._document.data = self._build(root, (), None)

    def _build(self, node: Node, path: ValuePath, key: Mark | None) -> Any:
        mark = _mark(node.start_mark)
        literal = isinstance(node, ScalarNode) and node.style == "|"
        self._document.note(path, key, key if key and _is_absent(node) else mark, literal=literal)
        self._values += 1
        if self._values > _MOST_VALUES:
            message = f"the file has more than {_MOST_VALUES:,} values, counting those of aliases"
            mistake = self._document.mistake(path, message)
            raise ConfigError([*self._document.mistakes, mistake])
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            return self._broken(path, "is an alias of a value that contains it")
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            return self._broken(path, f"has the tag {_short_tag(node)}, which is not supported")
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            return [self._build(item, (*path, i), None) for i, item in enumerate(node.value)]
        finally:
            self._open.remove(id(node))

    def _mapping(self, node: MappingNode, path: ValuePath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in node.value:
            mark = _mark(key.start_mark)
            if not isinstance(key, ScalarNode):
                self._add(mark, path, f"a key must be text, found {_kind(key)}")
                continue
            name = str(key.value)
            if _UNFIT.search(name):
                self._add(mark, path, f"a key {_UNFIT_TEXT}")
                continue
            if name in data:
                first = self._document.key_mark((*path, name))
                where = f"line {first.line}"
                if first.file != mark.file:
                    where = f"{first.file}:{first.line}"
                self._add(mark, (*path, name), f"is given twice; first in {where}")
                continue
            data[name] = self._build(value, (*path, name), mark)
        return data

    def _scalar(self, node: ScalarNode, path: ValuePath) -> Any:
        text: str = node.value
        kind = str(node.tag).removeprefix(_TAG)
        # ruamel resolves dates, `<<` and `=` although YAML 1.2's core schema does not. Here they
        # are text; fields that want a date parse it.
        if kind in ("str", "timestamp", "merge", "value"):
            return self._broken(path, _UNFIT_TEXT) if _UNFIT.search(text) else text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            if kind == "int":
                return _integer(text)
            if kind == "float":
                return _decimal(text)
        except (ValueError, InvalidOperation):
            return self._broken(path, "is not a number, or has too many digits")
        return self._broken(path, f"has the tag {_short_tag(node)}, which is not supported")

    def _broken(self, path: ValuePath, message: str) -> None:
        self._document.broken.add(path)
        self._document.mistakes.append(self._document.mistake(path, message))

    def _add(self, mark: Mark, path: ValuePath, message: str) -> None:
        self._document.mistakes.append(
            Mistake(mark.file, mark.line, mark.column, show_path(path), message)
        )


def _is_absent(node: Node) -> bool:
    """Return whether a value was left out; its mark is then that of the next token."""
    return isinstance(node, ScalarNode) and node.value == "" and node.style is None


def _name(key: Node) -> str | None:
    return str(key.value) if isinstance(key, ScalarNode) else None


def _joined(first: Node, second: Node) -> Node | None:
    """Return one node of a section's parts in two files, or ``None`` if they differ in kind."""
    for kind in (MappingNode, SequenceNode):
        if isinstance(first, kind) and isinstance(second, kind):
            values = [*first.value, *second.value]
            return kind(first.tag, values, first.start_mark, first.end_mark)
    return None


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    based = digits.lstrip("+-")[:2].lower() in ("0x", "0o", "0b")
    value = int(digits, 0 if based else 10)
    if abs(value) >= 10**_MOST_DIGITS:
        raise ValueError("too many digits")
    return value


def _decimal(text: str) -> Decimal:
    value = Decimal(text.replace("_", ""))
    if not value.is_finite() or (value and abs(value.adjusted()) >= _MOST_DIGITS):
        raise ValueError("not finite, or too many digits")
    return value


def _mark(mark: StreamMark) -> Mark:
    return Mark(str(mark.name), mark.line + 1, mark.column + 1)


def _kind(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    return "nothing" if node.tag == f"{_TAG}null" else "a single value"


def _short_tag(node: Node) -> str:
    tag = str(node.tag)
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
