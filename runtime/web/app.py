"""The app: its routes, its errors, and its document."""

from __future__ import annotations

from fastapi import FastAPI

from runtime.web import problems, request_bounds
from runtime.web.document import document_of
from runtime.web.observed import ObservedApp
from runtime.web.quick_executions import QuickExecutions
from runtime.web.rate_headers import RateHeaders
from runtime.web.routes import (
    accounts,
    actions,
    alerts,
    campaigns,
    caps,
    deliveries,
    destinations,
    docs,
    estimates,
    executions,
    grants,
    health,
    keys,
    missed,
    models,
    payments,
    people,
    previews,
    reports,
    switches,
)
from runtime.web.service import Service

_ROUTERS = (
    accounts.router,
    actions.router,
    people.router,
    campaigns.router,
    caps.router,
    docs.router,
    estimates.router,
    executions.router,
    grants.router,
    health.router,
    keys.operator_router,
    keys.router,
    missed.router,
    models.router,
    previews.router,
    reports.router,
    payments.router,
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
        title="creditgate",
        version="1",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    problems.add_handlers(app)
    app.add_middleware(QuickExecutions, service=service)
    app.add_middleware(request_bounds.RequestBounds)
    app.add_middleware(RateHeaders)
    for router in _ROUTERS:
        app.include_router(router)
    if service.config.service.metrics_port is None:
        app.include_router(health.metrics_router)
    app.add_middleware(ObservedApp, observer=service.telemetry.observer)
    app.openapi = lambda: document_of(app, _ROUTERS)  # type: ignore[method-assign]  # FastAPI's own way
    return app


def create_metrics_app(service: Service) -> FastAPI:
    """Return the app that serves the metrics alone, for a port of their own."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(health.metrics_router)
    return app
