"""Loading of a configuration: read, validate, check, and report all mistakes at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runtime.actions.prompts import PromptSyntaxError
from runtime.config.checks import Checker, is_within
from runtime.config.document import Document, ValuePath, read_document
from runtime.config.errors import ConfigError, Mistake
from runtime.config.fields import Surroundings
from runtime.config.messages import explain, value_path
from runtime.config.secret_files import open_to_everybody
from runtime.config.sections import Config
from runtime.ids import is_strict_id

# These replace the wrong fields of an entry, so that its other fields can be checked against the
# rest of the config, and references to the entry are still found.
STAND_INS: Mapping[str, Mapping[str, Any]] = {
    "endpoints": {},
    "plans": {"ai_credits": False},
    "models": {"litellm_model": "-/-", "endpoint": "-", "class": "quick"},
    "actions": {
        "model": "-",
        "user": "-",
        "outputs": {"stand_in": {"type": "boolean", "fallback": False}},
        "limits": {"max_output_tokens": 1},
    },
}


def load_config(
    path: Path | str, *, environ: Mapping[str, str] | None = None, now: datetime | None = None
) -> Config:
    """Read a config file, the files that it includes, and the secrets that it names.

    Args:
        path: the file. Relative paths in it are relative to its folder; in ``include``, to the
            folder of the file that includes.
        environ: replaces the process's environment.
        now: replaces the current time (UTC), which decides about the rate cards in force.

    Raises:
        ConfigError: the file has mistakes; the error has each of them with its position.

    Example:
        >>> config = load_config("config.yaml")
    """
    path = Path(path)
    document = read_document(None, path, path.parent)
    return _build(document, path.parent, environ, now)


def parse_config(
    text: str,
    origin: str = "<string>",
    base_dir: Path | str = ".",
    *,
    environ: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Config:
    """Read a config from text, as ``load_config`` reads one from a file in ``base_dir``.

    Raises:
        ConfigError: the text has mistakes; the error has each of them with its position and
            ``origin`` as its file.
    """
    folder = Path(base_dir)
    return _build(read_document(text, origin, folder), folder, environ, now)


def _build(
    document: Document,
    base_dir: Path,
    environ: Mapping[str, str] | None,
    now: datetime | None,
) -> Config:
    around = Surroundings(base_dir, os.environ if environ is None else environ)
    mistakes = list(document.mistakes)
    wrong: frozenset[ValuePath] = frozenset(document.broken)
    config: Config | None
    try:
        config = Config.model_validate(document.data, context=around)
    except ValidationError as error:
        translated = _translated(error, document)
        mistakes += [found for path, found in translated if not is_within(path, document.broken)]
        wrong = wrong.union(path for path, _ in translated)
        # A root that cannot be read leaves nothing to check.
        config = None if () in wrong else _with_stand_ins(wrong, document.data, around)
    warnings: list[Mistake] = []
    if config is not None:
        found_by_checker = Checker(config, now or datetime.now(UTC), wrong).findings()
        for finding in chain(found_by_checker, open_to_everybody(document.data, base_dir)):
            found = document.mistake(finding.path, finding.message, at_key=finding.at_key)
            (warnings if finding.warning else mistakes).append(found)
    if config is None or mistakes:
        raise ConfigError(_in_order(mistakes, document))
    return config.with_warnings(_in_order(warnings, document))


def _translated(error: ValidationError, document: Document) -> list[tuple[ValuePath, Mistake]]:
    schema = Config.model_json_schema()
    translated = []
    for detail in error.errors(include_url=False):
        path = value_path(detail["loc"], schema)
        at_key = detail["type"] == "extra_forbidden" or "[key]" in detail["loc"]
        reason = detail.get("ctx", {}).get("error")
        line = reason.line if isinstance(reason, PromptSyntaxError) else None
        message = explain(detail, schema)
        mistake = document.mistake(path, message, at_key=at_key, text_line=line)
        translated.append((path, mistake))
    return translated


def _with_stand_ins(
    wrong: Iterable[ValuePath], data: Mapping[str, Any], around: Surroundings
) -> Config | None:
    """Return a config without the wrong parts, or with others in their place, if possible."""
    kept = {name: dict(part) if isinstance(part, dict) else part for name, part in data.items()}
    own: dict[ValuePath, dict[str, Any]] = {}
    for section, *names in sorted(wrong, key=len, reverse=True):
        part = kept.get(str(section))
        if not names or not isinstance(part, dict):
            kept.pop(str(section), None)
        elif section in STAND_INS:
            _stand_in(part, STAND_INS[str(section)], own, section, *names[:2])
        else:
            part.pop(names[0], None)
    try:
        return Config.model_validate({"version": 1, "plans": {}, **kept}, context=around)
    except ValidationError:
        return None


def _stand_in(
    entries: dict[str, Any],
    stand_in: Mapping[str, Any],
    own: dict[ValuePath, dict[str, Any]],
    section: str | int,
    name: str | int,
    field: str | int | None = None,
) -> None:
    """Replace an entry, or a field of it; take it out if its name is wrong.

    ``own`` has the entries that were replaced before: copying one for each of its fields would take
    the square of their number.
    """
    entry = own.get((section, name)) or entries.get(str(name))
    entries.pop(str(name), None)
    if not is_strict_id(str(name)):
        return
    if field is None or not isinstance(entry, dict):
        entry = dict(stand_in)
    elif (section, name) not in own:
        entry = {**stand_in, **entry}
    entry.pop(str(field), None)
    if field in stand_in:
        entry[str(field)] = stand_in[str(field)]
    own[section, name] = entries[str(name)] = entry


def _in_order(mistakes: list[Mistake], document: Document) -> list[Mistake]:
    files = {name: index for index, name in enumerate(document.files)}
    return sorted(
        dict.fromkeys(mistakes),
        key=lambda item: (files.get(item.file, -1), item.line or 0, item.column or 0),
    )
