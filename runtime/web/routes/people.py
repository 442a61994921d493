"""People of a campaign, put into its queue as they arrive."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from pricing.errors import CreditgateError
from runtime.actions.requests import Source
from runtime.campaigns.campaign import CAMPAIGN_ID_RULE, Campaign
from runtime.campaigns.column_types import ColumnRules, ColumnType
from runtime.campaigns.enqueueing import Import, ImportBehind
from runtime.campaigns.people_format import PeopleFormat
from runtime.campaigns.people_rows import PERSON_ID, PeopleError
from runtime.ids import ID_PATTERN, ID_RULE
from runtime.web.access import Executing, account_of
from runtime.web.bodies import IdText, Reference, problems
from runtime.web.parameters import naming
from runtime.web.problems import Problem, invalid, of_error
from runtime.web.request_bounds import CSV, NDJSON, people_type_of
from runtime.web.service import ServiceOf
from runtime.web.uploads import PLACE, BodyForm, Uploaded

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"])

_EXAMPLES = {
    NDJSON: '{"person_id": "p1", "message": "Where is my card?"}\n',
    CSV: "person_id,message\np1,Where is my card?\n",
}


class PeopleAnswer(BaseModel):
    """The end of a body: how many people were added."""

    campaign_id: str
    import_id: str
    rows: int = Field(description="Rows of this body.")
    accepted: int = Field(description="Of them, those that were not there already.")
    position: int = Field(
        description="The rows of the import that are in the queue: send the next body with "
        "`row` = `position`."
    )


_ANSWER = {
    "campaign_id": "spring",
    "import_id": "crm-2026-07-08",
    "rows": 1,
    "accepted": 1,
    "position": 1,
}

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string"}, "example": text}
            for kind, text in _EXAMPLES.items()
        },
    }
}


@router.post(
    "/{campaign_id:id}/people",
    operation_id="add_people",
    openapi_extra=_BODY,
    responses={
        200: {"content": {"application/json": {"example": _ANSWER}}},
        **problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
    },
)
async def add_people(  # noqa: PLR0913 - one parameter of the query an option
    request: Request,
    campaign_id: Annotated[
        str,
        Path(
            pattern=r"^[A-Za-z0-9_-]{1,64}$",
            description=f"The campaign: {CAMPAIGN_ID_RULE}.",
            examples=["spring"],
        ),
    ],
    key: Executing,
    service: ServiceOf,
    action: Annotated[
        str,
        Query(pattern=ID_PATTERN, description="A published action's id.", examples=["route"]),
    ],
    workspace_id: Annotated[
        IdText, Query(description="Where the campaign runs.", examples=["retail"])
    ],
    import_id: Annotated[
        Reference,
        Query(
            description="A name for these people, of your own. What was added under it already is "
            "not added again.",
            examples=["crm-2026-07-08"],
        ),
    ],
    row: Annotated[
        int,
        Query(
            ge=0,
            le=10**12,
            description="The number of this body's first row in the import, from 0. A CSV header "
            "is no row.",
        ),
    ] = 0,
    account_id: Annotated[
        str | None,
        Query(
            pattern=ID_PATTERN,
            description=f"The account that pays, {ID_RULE}. A key of an account may leave it out.",
            examples=["acme"],
        ),
    ] = None,
    source: Annotated[
        Literal["live", "preview", "test"],
        Query(description="The purpose; a dimension of every charge."),
    ] = "live",
    id_column: Annotated[
        str,
        Query(
            min_length=1,
            max_length=200,
            description="The column, or the key of an object, that holds the person's id.",
        ),
    ] = PERSON_ID,
    delimiter: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=10,
            description="What separates the columns of CSV, where it is not found by itself.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        Query(
            max_length=100,
            description="The type of a column of CSV, `NAME=number`, `NAME=boolean`, `NAME=date` "
            "or `NAME=text`; columns without one are text. Repeat it for several.",
        ),
    ] = None,
) -> PeopleAnswer:
    """Put people into a campaign's queue, as a stream of JSON Lines or CSV.

    The body is read as it arrives: each person is an object with a `person_id`, or a row of CSV
    below a header; other members are attributes of `customer`, or of the scope that they name
    (`event.pages`). It may be packed (`Content-Encoding: gzip`). A row that can't be used ends the
    request; the problem names its `line`, and `position`, up to which rows are in the queue. After
    a mistake, a cut connection or a 503, send the same import again, from any row up to
    `position`: none is added twice.
    """
    account = account_of(key, account_id)
    kind, is_packed = people_type_of(request.scope)
    form = BodyForm(
        is_csv=kind == CSV,
        is_packed=is_packed,
        form=_form(delimiter, id_column, is_csv=kind == CSV),
        rules=ColumnRules(declared=_declared(column or [], is_csv=kind == CSV), text_only=True),
    )
    spec = await service.runtime.actions.get(account, action)
    await service.ledger.accounts.balance(account)
    campaign = Campaign(account, workspace_id, campaign_id, spec, Source(source))
    target = Import(service.queue, campaign, import_id, f"{action} {source}")
    found = await target.find()
    if found < row:
        raise _problem(ImportBehind(found, row), target, Uploaded(0, 0))
    read = await service.uploads.read(request, form, campaign, target, row)
    if read.error is not None:
        raise _problem(read.error, target, read)
    return PeopleAnswer(
        campaign_id=campaign_id,
        import_id=import_id,
        rows=read.rows,
        accepted=target.accepted,
        position=target.position,
    )


def _form(delimiter: str | None, id_column: str, *, is_csv: bool) -> PeopleFormat:
    if delimiter is not None and not is_csv:
        raise invalid("query.delimiter", "is for CSV; JSON Lines have none")
    try:
        return PeopleFormat(delimiter, id_column=id_column)
    except PeopleError as error:
        name, _, text = str(error).partition(": ")
        raise invalid(f"query.{name.replace(' ', '_')}", text) from None


def _declared(columns: list[str], *, is_csv: bool) -> dict[str, ColumnType]:
    if columns and not is_csv:
        raise invalid("query.column", "is for CSV; values of JSON Lines have the types of JSON")
    found: dict[str, ColumnType] = {}
    for text in columns:
        name, _, kind = text.rpartition("=")
        if not name or kind not in set(ColumnType):
            allowed = ", ".join(f"NAME={one.value}" for one in ColumnType)
            raise invalid("query.column", f"must be one of {allowed}", text)
        with naming("column", "query"):
            if name in found:
                raise ValueError(f"{name!r} is there twice")
        found[name] = ColumnType(kind)
    return found


def _problem(error: Exception, target: Import, read: Uploaded) -> Problem:
    """Return the problem of what ended a body, with how far it came."""
    found: Problem | None
    if isinstance(error, Problem):
        found = error
    elif isinstance(error, ImportBehind):
        found = Problem(409, "import_behind", "Rows before these are missing", _sentence(error))
    elif isinstance(error, ValueError):
        detail = _sentence(error).removeprefix(f"{PLACE}, ").removeprefix(f"{PLACE}: ")
        if not detail.lower().startswith("line "):
            detail = f"line {read.line}: {detail}"
        found = Problem(
            422, "people_refused", "A row can't be used", detail[:1].upper() + detail[1:]
        )
    else:
        found = of_error(error) if isinstance(error, CreditgateError) else None
    if found is None:
        raise error
    found.body |= {
        "line": read.line,
        "rows": read.rows,
        "accepted": target.accepted,
        "position": target.position,
    }
    return found


def _sentence(error: Exception) -> str:
    text = str(error)
    return text if text.endswith(".") else f"{text}."
