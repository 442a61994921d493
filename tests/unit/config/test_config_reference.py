"""The reference of all keys has every key, with its real type and default."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from runtime.config import Config
from tests.harness.config_reference import REFERENCE, Row, rows_in_reference

SCHEMA = Config.model_json_schema()
# An upper limit that nobody reaches on purpose says nothing to a reader.
BEYOND_INTEREST = 10**9


def plain(node: dict[str, Any]) -> dict[str, Any]:
    """Follow references, and optional values to what they are when given."""
    options = [option for option in node.get("anyOf", []) if option.get("type") != "null"]
    if len(options) == 1:
        return plain(options[0])
    if "$ref" in node:
        return plain(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]])
    return node


def type_of(name: str, node: dict[str, Any]) -> str:
    """Say what a key may be, as the reference does."""
    node = plain(node)
    if name in ("fallback", "minimum", "maximum"):
        return "as its output's type" if name == "fallback" else "number"
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    kind = str(node.get("format") or node["type"])
    words = {"object": "mapping", "array": "list", "boolean": "true or false", "string": "text"}
    return words.get(kind, kind) + bounds(node)


def bounds(node: dict[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if "exclusiveMinimum" in node:
        low = node["exclusiveMinimum"] + 1
    if low is None or high is None or high >= BEYOND_INTEREST:
        return "" if low is None else f", at least {low}"
    return f", {low} to {high}"


def default_of(name: str, node: dict[str, Any], required: bool) -> str:
    """Say what a key is when it is left out, as the reference does."""
    if required:
        return "required"
    inner = plain(node)
    if inner.get("type") in ("object", "array") and "default" not in inner:
        return "see its keys" if "$ref" in node or "default" in node else "empty"
    default = node["default"]
    if default is None or default == "":
        return "none"
    # Defaults are held in the units of the ledger, and written in those of the file.
    scale = {"whole credits": 1000, "US dollars": 100}.get(inner.get("format", ""), 1)
    return f"`{default // scale}`" if scale > 1 else f"`{json.dumps(default).strip(chr(34))}`"


def rows(section: str, node: dict[str, Any]) -> Iterator[Row]:
    """Yield the keys of a section, then those of the sections in it."""
    node = plain(node)
    fields = {k: v for k, v in node["properties"].items() if (section, k) != ("actions.<id>", "id")}
    for name, field in fields.items():
        required = name in node.get("required", ())
        yield section, name, type_of(name, field), default_of(name, field, required)
    for name, field in fields.items():
        path = f"{section}.{name}".lstrip(".")
        inner = plain(field)
        entry = "<id>" if name in ("models", "actions") else "<name>"
        if "properties" in inner:
            yield from rows(path, inner)
        elif "additionalProperties" in inner:
            yield from rows(f"{path}.{entry}", inner["additionalProperties"])
        elif "patternProperties" in inner:
            [outputs] = inner["patternProperties"].values()
            yield from output_rows(f"{path}.{entry}", outputs["discriminator"]["mapping"])
        elif "$ref" in inner.get("items", {}):
            yield from rows(f"{path}[]", inner["items"])


def output_rows(section: str, types: dict[str, str]) -> Iterator[Row]:
    """Yield the keys that all outputs have, then those of single types."""
    keys = {kind: list(rows(section, {"$ref": ref})) for kind, ref in types.items()}
    yield section, "type", " or ".join(f"`{kind}`" for kind in types), "required"
    common = [row for row in keys["text"] if all(row in found for found in keys.values())]
    yield from common
    for kind, found in keys.items():
        for _, *row in found:
            if (section, *row) not in common and row[0] != "type":
                yield f"{section}, type {kind}", row[0], row[1], row[2]


def test_the_reference_has_every_key_with_its_type_and_default_and_no_other() -> None:
    written = rows_in_reference()
    # `include` is followed while files are read, so the schema does not know it.
    written.remove(("", "include", "path or list of paths", "none"))
    assert sorted(written) == sorted(rows("", SCHEMA))


def test_the_reference_gives_keys_in_the_order_of_the_file() -> None:
    example = (REFERENCE.parents[1] / "config.example.yaml").read_text(encoding="utf-8")
    order = re.findall(r"^#? ?([a-z_]+):", example, re.MULTILINE)
    keys = [key for section, key, *_ in rows_in_reference() if section == "" and key in order]
    assert keys == [key for key in dict.fromkeys(order) if key in keys]
