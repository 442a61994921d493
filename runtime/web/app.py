"""The app: its routes, its errors, and its document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from runtime.web import problems, request_bounds
from runtime.web.observed import ObservedApp
from runtime.web.rate_headers import RateHeaders
from runtime.web.routes import (
    accounts,
    actions,
    alerts,
    caps,
    deliveries,
    destinations,
    docs,
    executions,
    grants,
    health,
    keys,
    missed,
    models,
    previews,
    reports,
    switches,
)
from runtime.web.service import Service

_ROUTERS = (
    accounts.router,
    actions.router,
    caps.router,
    docs.router,
    executions.router,
    grants.router,
    health.router,
    keys.operator_router,
    keys.router,
    missed.router,
    models.router,
    previews.router,
    reports.router,
    switches.router,
    alerts.router,
    destinations.router,
    destinations.operator_router,
    deliveries.router,
    deliveries.operator_router,
)


def create_app(service: Service) -> FastAPI:
    """Return the app in front of a service's parts."""
    app = FastAPI(
        title="creditgate", version="1", openapi_url="/openapi.json", docs_url=None, redoc_url=None
    )
    app.state.service = service
    problems.add_handlers(app)
    app.add_middleware(request_bounds.RequestBounds)
    app.add_middleware(RateHeaders)
    for router in _ROUTERS:
        app.include_router(router)
    if service.config.service.metrics_port is None:
        app.include_router(health.metrics_router)
    app.add_middleware(ObservedApp, observer=service.telemetry.observer)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's own way
    return app


def create_metrics_app(service: Service) -> FastAPI:
    """Return the app that serves the metrics alone, for a port of their own."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(health.metrics_router)
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
