"""Statement, usage and performance of an account, from the archive: JSON and CSV."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from pricing.offers import check_timezone
from runtime.archive.reports import Reports
from runtime.archive.statement import Statements
from runtime.formats.charge import charge_json
from runtime.formats.csv_cells import csv_text
from runtime.formats.statement import CSV_HEADER, account_json, csv_row, line_json
from runtime.formats.times import check_window, instant_ms, month_begin, parse_instant
from runtime.formats.usage import (
    performance_cells,
    performance_json,
    usage_cells,
    usage_json,
)
from runtime.web.access import BillingReader, account_of
from runtime.web.answers import Charge, Performance, StatementPage, Usage
from runtime.web.bodies import ACCOUNT_ID, Responses, problems
from runtime.web.parameters import Cursor, Limit, Since, Until, naming
from runtime.web.problems import invalid
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1/accounts/{account_id}", tags=["reports"])
_PROBLEMS = problems(401, 403, 404, 422, 429, 503)
_CSV: Responses = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
_ROWS_AT_ONCE = 500

Format = Annotated[Literal["json", "csv"], Query(description="`csv`: a file for spreadsheets.")]
Zone = Annotated[
    str | None, Query(max_length=64, description="An IANA name; by default the account's zone.")
]
Order = Annotated[
    Literal["newest", "oldest"],
    Query(description="Which comes first; a whole CSV begins with the oldest."),
]


@router.get("/statement", response_model=StatementPage, responses=_CSV | _PROBLEMS)
async def get_statement(  # noqa: PLR0913 - one parameter a parameter of the URL
    account_id: ACCOUNT_ID,
    key: BillingReader,
    service: ServiceOf,
    since: Since = None,
    until: Until = None,
    order: Order = "newest",
    limit: Limit = 100,
    cursor: Cursor = None,
    format_: Annotated[Format, Query(alias="format")] = "json",
) -> Any:
    """Return each movement of an account with the balance after it, page by page.

    With `format=csv`, all of the window as one file, which `limit`, `cursor` and `order` don't
    concern.
    """
    account_of(key, account_id)
    statements = await _statements(service)
    account = await statements.account(account_id)
    from_ms, to_ms = _window(since, until, check_timezone(account.timezone))
    if format_ == "csv":
        return StreamingResponse(
            _csv(statements, account_id, from_ms, to_ms),
            media_type="text/csv",
            headers=_file(f"statement-{account_id}"),
        )
    page = await statements.page(
        account_id,
        from_ms=from_ms,
        to_ms=to_ms,
        newest_first=order == "newest",
        limit=limit,
        cursor=cursor,
    )
    lines = [line_json(line) for line in page.lines]
    return {**account_json(page.account), "items": lines, "next_cursor": page.next_cursor}


@router.get("/statement/{seq}", response_model=Charge, responses=_PROBLEMS)
async def get_entry(
    account_id: ACCOUNT_ID,
    seq: Annotated[int, Path(ge=1, le=2**53, description="The entry's number.", examples=[1])],
    key: BillingReader,
    service: ServiceOf,
) -> dict[str, Any]:
    """Return one entry with all that the journal knows: what an execution cost, and why."""
    account_of(key, account_id)
    line = await (await _statements(service)).entry(account_id, seq)
    return charge_json(line, service.config)


@router.get(
    "/usage",
    response_model=Usage,
    response_model_exclude_unset=True,
    responses=_CSV | _PROBLEMS,
)
async def get_usage(
    account_id: ACCOUNT_ID,
    key: BillingReader,
    service: ServiceOf,
    by: Annotated[
        str,
        Query(
            max_length=200,
            description="Any of day, month, model, class, workspace, campaign, action, source, "
            "outcome, reason, with commas between them.",
            examples=["day,model"],
        ),
    ] = "day",
    since: Since = None,
    until: Until = None,
    timezone: Zone = None,
    format_: Annotated[Format, Query(alias="format")] = "json",
) -> Any:
    """Return what an account used in a window of time, by default in this month so far."""
    account_of(key, account_id)
    reports = await _reports(service)
    zone = await _zone(reports, account_id, timezone)
    from_ms, to_ms = _month_or(since, until, zone)
    with naming("by", "query"):
        report = await reports.usage(
            account_id,
            by=[name.strip() for name in by.split(",")],
            from_ms=from_ms,
            to_ms=to_ms,
            timezone=zone.key,
        )
    if format_ == "csv":
        return Response(
            csv_text(usage_cells(report)),
            media_type="text/csv",
            headers=_file(f"usage-{account_id}"),
        )
    return usage_json(report)


@router.get("/performance", response_model=Performance, responses=_CSV | _PROBLEMS)
async def get_performance(
    account_id: ACCOUNT_ID,
    key: BillingReader,
    service: ServiceOf,
    since: Since = None,
    until: Until = None,
    format_: Annotated[Format, Query(alias="format")] = "json",
) -> Any:
    """Return how actions performed, by version and model, by default in this month so far."""
    account_of(key, account_id)
    reports = await _reports(service)
    from_ms, to_ms = _month_or(since, until, await _zone(reports, account_id, None))
    report = await reports.performance(account_id, from_ms=from_ms, to_ms=to_ms)
    if format_ == "csv":
        return Response(
            csv_text(performance_cells(report)),
            media_type="text/csv",
            headers=_file(f"performance-{account_id}"),
        )
    return performance_json(report)


async def _reports(service: Service) -> Reports:
    return Reports(await service.store.database(), service.config)


async def _statements(service: Service) -> Statements:
    return Statements(await service.store.database(), service.installation)


async def _zone(reports: Reports, account_id: str, name: str | None) -> ZoneInfo:
    known = await reports.timezone(account_id)
    with naming("timezone", "query"):
        return check_timezone(known if name is None else name)


def _window(since: str | None, until: str | None, zone: ZoneInfo) -> tuple[int | None, int | None]:
    """Return the window's ends as milliseconds since 1970; ``None`` where one is open."""
    begins = None if since is None else _instant(since, zone, "from")
    ends = None if until is None else _instant(until, zone, "to")
    now = datetime.now(UTC)
    try:
        check_window(begins, ends, now, ("from", "to"))
    except ValueError as error:
        field, _, text = str(error).partition(": ")
        raise invalid(f"query.{field}", text) from None
    return _ms(begins), _ms(ends)


def _ms(instant: datetime | None) -> int | None:
    return None if instant is None else instant_ms(instant)


def _month_or(since: str | None, until: str | None, zone: ZoneInfo) -> tuple[int, int | None]:
    from_ms, to_ms = _window(since, until, zone)
    if from_ms is None:
        now = datetime.now(UTC)
        ends = now if until is None else min(now, _instant(until, zone, "to"))
        from_ms = instant_ms(month_begin(ends, zone))
    return from_ms, to_ms


def _instant(text: str, zone: ZoneInfo, field: str) -> datetime:
    with naming(field, "query"):
        return parse_instant(text, zone, field)


def _file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}.csv"'}


async def _csv(
    statements: Statements, account_id: str, from_ms: int | None, to_ms: int | None
) -> AsyncIterator[str]:
    rows: list[Any] = [CSV_HEADER]
    async for line in statements.lines(
        account_id, from_ms=from_ms, to_ms=to_ms, newest_first=False
    ):
        rows.append(csv_row(line))
        if len(rows) >= _ROWS_AT_ONCE:
            yield csv_text(rows)
            rows.clear()
    yield csv_text(rows)
