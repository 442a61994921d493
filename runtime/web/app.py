"""The app: its routes, its errors, and its document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from runtime.web import problems, request_bounds
from runtime.web.routes import (
    accounts,
    caps,
    executions,
    grants,
    health,
    payments,
    reports,
)
from runtime.web.service import Service

_ROUTERS = (
    health.router,
    executions.router,
    accounts.router,
    grants.router,
    caps.router,
    reports.router,
    payments.router,
)


def create_app(service: Service) -> FastAPI:
    """Return the app in front of a service's parts."""
    app = FastAPI(
        title="creditgate", version="1", openapi_url="/openapi.json", docs_url=None, redoc_url=None
    )
    app.state.service = service
    problems.add_handlers(app)
    app.add_middleware(request_bounds.RequestBounds)
    for router in _ROUTERS:
        app.include_router(router)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's own way
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schema = problems.ProblemDetails.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
        schemas.update(schema.pop("$defs", {}))
        schemas[problems.ProblemDetails.__name__] = schema
        request_bounds.describe(document)
        app.openapi_schema = document
    return app.openapi_schema
