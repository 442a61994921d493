"""Health checks of the process."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def live() -> dict[str, str]:
    """Answer as long as the process lives."""
    return {"status": "ok"}
