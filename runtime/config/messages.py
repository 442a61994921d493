"""Messages for pydantic's errors, with a suggestion for mistyped names."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import ErrorDetails

from runtime.actions.outputs import NAME_PATTERN
from runtime.config.document import ValuePath
from runtime.config.fields import KEY_PREFIX_PATTERN, KEY_PREFIX_RULE, describe
from runtime.config.renamed import renamed_key
from runtime.hints import did_you_mean
from runtime.ids import ID_PATTERN, ID_RULE

_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
}
_WANTED_PARTS = {
    "dict_type": "a mapping (`key: value`)",
    "model_type": "a mapping (`key: value`)",
    "model_attributes_type": "a mapping (`key: value`)",
    "list_type": "a list",
    "tuple_type": "a list",
}
_LIMITS = {
    "greater_than": ("gt", "be more than {}"),
    "greater_than_equal": ("ge", "be at least {}"),
    "less_than": ("lt", "be less than {}"),
    "less_than_equal": ("le", "be at most {}"),
    "string_too_short": ("min_length", "have at least {} characters"),
    "string_too_long": ("max_length", "have at most {} characters"),
    "too_short": ("min_length", "have at least {} entries"),
    "too_long": ("max_length", "have at most {} entries"),
    "enum": ("expected", "be {}"),
    "literal_error": ("expected", "be {}"),
    "union_tag_invalid": ("expected_tags", "be one of the types {}"),
    "union_tag_not_found": ("discriminator", "have {}, which says of what type it is"),
    "string_pattern_mismatch": ("pattern", "be {}"),
}
_PATTERNS = {
    ID_PATTERN: ID_RULE,
    NAME_PATTERN: "1 to 64 of the characters A-Z a-z 0-9 _, without a digit in front",
    KEY_PREFIX_PATTERN: KEY_PREFIX_RULE,
}


def explain(error: ErrorDetails, schema: dict[str, Any]) -> str:
    """Return a message with what is wrong, what was found, and what is allowed.

    Args:
        error: one of pydantic's errors.
        schema: the JSON Schema of the whole config, which has the allowed keys.
    """
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return "is missing; it has no default"
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"], schema)
    if kind == "value_error":
        return str(context["error"])
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, found {describe(found)}{_hint(kind, found)}"
    if kind in _WANTED_PARTS:
        # Not shown: instead of a section, it may be a key or an address with a password.
        shown = "a single text" if isinstance(found, str) else describe(found)
        return f"must be {_WANTED_PARTS[kind]}, found {shown}"
    if kind not in _LIMITS:
        return error["msg"]
    name, words = _LIMITS[kind]
    limit = _PATTERNS.get(context[name], context[name])
    shown = describe(context.get("tag", found))
    return f"must {words.format(limit)}, found {shown}{_likely(kind, found, str(limit))}"


def value_path(location: ValuePath, schema: dict[str, Any]) -> ValuePath:
    """Return the path in the file of one of pydantic's locations, which have more than keys."""
    path: list[str | int] = []
    node = schema
    for part in location:
        is_tag = part in node.get("discriminator", {}).get("mapping", {})
        if part != "[key]" and not is_tag:
            path.append(part)
        node = _inside(node, part, schema)
    # An action's id is its key.
    if path[:1] == ["actions"] and path[2:] == ["id"]:
        path.pop()
    return tuple(path)


def _unknown_key(location: ValuePath, schema: dict[str, Any]) -> str:
    if new := renamed_key(location):
        return f"is now named {new!r}"
    node = schema
    for part in location[:-1]:
        node = _inside(node, part, schema)
    allowed = set(node.get("properties", {})) - ({"id"} if location[0] == "actions" else set())
    return "is not a known key" + did_you_mean(str(location[-1]), allowed)


def _inside(node: dict[str, Any], part: str | int, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one part of ``node``; an empty one if it is unknown."""
    tags = node.get("discriminator", {}).get("mapping", {})
    by_pattern = list(node.get("patternProperties", {}).values())
    inner: Any = (
        {"$ref": tags[part]}
        if part in tags
        else node.get("properties", {}).get(part)
        or (by_pattern[0] if by_pattern else None)
        or node.get("additionalProperties")
        or node.get("items")
    )
    return _resolved(inner, schema) if isinstance(inner, dict) else {}


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without references, and an optional value's as if it were given."""
    options = [item for item in node.get("anyOf", []) if item.get("type") != "null"]
    if len(options) == 1:
        return _resolved(options[0], schema)
    if "$ref" in node:
        return _resolved(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    return node


def _likely(kind: str, found: Any, allowed: str) -> str:
    """Return the value that was probably meant, of those that the message lists in quotes."""
    if kind not in ("enum", "literal_error") or not isinstance(found, str):
        return ""
    return did_you_mean(found, re.findall("'([^']+)'", allowed), or_list=False)


def _hint(kind: str, found: Any) -> str:
    if kind.startswith("bool") and isinstance(found, str) and found.lower() in ("yes", "no"):
        return ": in YAML 1.2 `yes` and `no` are text"
    if kind == "string_type" and not isinstance(found, dict | list | None):
        return ": put it in quotes"
    return ""
