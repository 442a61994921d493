"""Health checks of the process, and its metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from runtime.telemetry.metrics import CONTENT_TYPE
from runtime.web.bodies import problems
from runtime.web.problems import Problem
from runtime.web.service import ServiceOf

router = APIRouter(tags=["operations"])
metrics_router = APIRouter(tags=["operations"])

_AGAIN_S = "2"


class Live(BaseModel):
    """The process lives."""

    status: str = Field(examples=["ok"])


class ReadyState(BaseModel):
    """The process is ready. ``sql`` is not needed for that: executions never ask it."""

    status: str = Field(examples=["ready"])
    redis: bool = Field(examples=[True])
    sql: bool = Field(examples=[True])


@router.get("/healthz", operation_id="live")
async def live() -> Live:
    """Answer as long as the process lives."""
    return Live(status="ok")


@router.get("/readyz", operation_id="ready", responses=problems(503))
async def ready(service: ServiceOf) -> ReadyState:
    """Answer 200 while requests should be sent here.

    Redis answers, and the process is not about to end. The database may be away: executions go on
    without it, and `sql` is false.
    """
    found = await service.readiness.check()
    if found.is_ready:
        return ReadyState(status="ready", redis=found.redis, sql=found.sql)
    why = "it is about to end" if found.draining else "Redis does not answer"
    raise Problem(
        503,
        "not_ready",
        "The process is not ready",
        f"Send requests to another process: {why}.",
        headers={"Retry-After": _AGAIN_S},
        draining=found.draining,
        redis=found.redis,
        sql=found.sql,
    )


@metrics_router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={
        200: {
            "description": "The metrics in Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
async def metrics(service: ServiceOf) -> Response:
    """Return the metrics of this process, without a key.

    With `service.metrics_port` they are on that port alone.
    """
    return Response(await service.readings.text(), media_type=CONTENT_TYPE)
