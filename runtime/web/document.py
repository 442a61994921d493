"""The OpenAPI document of the app: FastAPI's, with what it leaves out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from runtime.web import problems, request_bounds

_DESCRIPTION = """\
The service in front of the engine: executions, previews, credits and their reports.

Send a key with every request: `Authorization: Bearer KEY`. Amounts are whole millicredits (1 credit
is 1,000) and end in `_mc`; instants are RFC 3339 text and end in `_at`, durations end in `_ms`.
Errors are problem details (RFC 9457) with a `type` that does not change.
"""


def document_of(app: FastAPI, routers: Iterable[APIRouter]) -> dict[str, Any]:
    """Return the document, which is made once.

    Args:
        routers: those of the app.
    """
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schema = problems.ProblemDetails.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        schemas.update(schema.pop("$defs", {}))
        schemas[problems.ProblemDetails.__name__] = schema
        request_bounds.describe(document)
        _summarize(document)
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute) and route.include_in_schema:
                    _restore_examples(document, route)
        app.openapi_schema = document
    return app.openapi_schema


def _summarize(document: dict[str, Any]) -> None:
    """Let the first line of a description be its summary, where FastAPI has the function's name."""
    for operations in document["paths"].values():
        for operation in operations.values():
            first, _, _ = operation.get("description", "").partition("\n")
            operation["summary"] = first.removesuffix(".") or operation["summary"]


def _restore_examples(document: dict[str, Any], route: APIRoute) -> None:
    """Put a route's examples back as they were written: FastAPI drops each ``null`` in them."""
    for method in route.methods or ():
        operation = document["paths"][route.path_format][method.lower()]
        for status, answer in route.responses.items():
            _restore(operation["responses"].get(str(status), {}), answer)
        _restore(operation.get("requestBody", {}), (route.openapi_extra or {}).get("requestBody"))


def _restore(shown: dict[str, Any], written: dict[str, Any] | None) -> None:
    for kind, media in (written or {}).get("content", {}).items():
        for member in ("example", "examples"):
            if member in media and kind in shown.get("content", {}):
                shown["content"][kind][member] = media[member]
