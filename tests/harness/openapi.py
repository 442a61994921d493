"""The OpenAPI document of the service, as tests read it: its operations, with their examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

_JSON = "application/json"
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")


@dataclass(frozen=True)
class Operation:
    """One method of one path; ``document`` is all of the API's."""

    method: str
    path: str
    spec: Mapping[str, Any]
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.spec["operationId"])

    @property
    def names_account(self) -> bool:
        """Whether a request says whose account it is about, in its path or its body."""
        named = any(one["name"] == "account_id" for one in self.spec.get("parameters", ()))
        return named or '"account_id"' in json.dumps(self.bodies())

    def url(self, **values: str) -> str:
        """The path with these values, and with the document's examples for the others."""
        path = self.path
        for parameter in self.parameters("path"):
            name = parameter["name"]
            value = values.get(name, self._example(parameter))
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        return path

    def query(self, *, examples: bool = False) -> dict[str, str]:
        """The query's required parameters; or every one that has an example."""
        return {
            parameter["name"]: str(self._example(parameter))
            for parameter in self.parameters("query")
            if parameter.get("required") or (examples and has_example_of(parameter))
        }

    def headers(self) -> dict[str, str]:
        """The headers that must be sent; an ``If-Match`` without an example names no version."""
        found = {}
        for parameter in self.parameters("header"):
            if parameter["name"].lower() == "if-match" and not has_example_of(parameter):
                found[parameter["name"]] = '"of-no-version"'
            elif parameter.get("required") or has_example_of(parameter):
                found[parameter["name"]] = str(self._example(parameter))
        return found

    def parameters(self, place: str) -> list[Mapping[str, Any]]:
        return [one for one in self.spec.get("parameters", ()) if one["in"] == place]

    def bodies(self) -> dict[str, Any]:
        """The examples of the body by name; one made of its members' examples if there are none."""
        content = self.spec.get("requestBody", {}).get("content", {}).get(_JSON)
        if content is None:
            return {}
        if "examples" in content:
            return {name: one["value"] for name, one in content["examples"].items()}
        if "example" in content:
            return {"example": content["example"]}
        return {"members": self.example_of(content["schema"])}

    def texts(self) -> dict[str, str]:
        """The examples of bodies that are not JSON, by content type."""
        content = self.spec.get("requestBody", {}).get("content", {})
        return {kind: media["example"] for kind, media in content.items() if kind != _JSON}

    def example_of(self, schema: Mapping[str, Any]) -> Any:
        """An example of a schema: its own, or one of its required members'."""
        schema = self.resolved(schema)
        if has_example(schema):
            return _first_example(schema)
        if "properties" in schema:
            return {
                name: self.example_of(member)
                for name, member in schema["properties"].items()
                if name in schema.get("required", ()) or has_example(self.resolved(member))
            }
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if "enum" in schema:
            return schema["enum"][0]
        raise AssertionError(f"{self.name}: there is no example of {dict(schema)}")

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema that a reference stands for."""
        while "$ref" in schema:
            found: Any = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema

    def _example(self, parameter: Mapping[str, Any]) -> Any:
        if has_example(parameter):
            return _first_example(parameter)
        return self.example_of(parameter["schema"])


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Every operation of the document."""
    for path, methods in document["paths"].items():
        for method, spec in methods.items():
            if method in METHODS:
                yield Operation(method.upper(), path, spec, document)


def has_example_of(parameter: Mapping[str, Any]) -> bool:
    return has_example(parameter) or has_example(parameter["schema"])


def has_example(schema: Mapping[str, Any]) -> bool:
    return "example" in schema or bool(schema.get("examples"))


def _first_example(schema: Mapping[str, Any]) -> Any:
    if "example" in schema:
        return schema["example"]
    examples = schema["examples"]
    if isinstance(examples, Mapping):
        return next(iter(examples.values()))["value"]
    return examples[0]
