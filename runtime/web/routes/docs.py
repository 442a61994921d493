"""The documentation page of the API: Redoc, served from the package itself.

Its policy lets it load nothing from elsewhere, and run no script but its own.
"""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic_core import to_json

router = APIRouter(include_in_schema=False)

_STATIC = Path(__file__).parents[1] / "static"
# Redoc adds an empty style element and fills it by script: the hash is that of empty text.
_EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {_EMPTY_STYLE}",
        "img-src 'self' data:",
        "font-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>creditgate API</title></head>
<body>
<redoc spec-url="/openapi.json" disable-telemetry="true"></redoc>
<script type="module" src="/docs/redoc.js"></script>
</body>
</html>
"""


@router.get("/docs")
async def page() -> Response:
    """Return the page."""
    return Response(_PAGE, media_type="text/html", headers=_HEADERS)


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    """Return the OpenAPI document, which takes half a second to make, once."""
    found = await asyncio.to_thread(_document, request.app)
    return Response(found, media_type="application/json")


@router.get("/docs/redoc.js")
async def script() -> Response:
    """Return Redoc's script."""
    headers = {**_HEADERS, "Cache-Control": "public, max-age=86400"}
    return Response(_script(), media_type="text/javascript", headers=headers)


@cache
def _script() -> bytes:
    return (_STATIC / "redoc.js").read_bytes()


@cache
def _document(app: FastAPI) -> bytes:
    return to_json(app.openapi())
