"""Actions of an account: drafts, published versions, and where they are used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from runtime.config.drafts import DraftRefused
from runtime.ids import ID_PATTERN, ID_RULE
from runtime.library.differences import differences
from runtime.library.forms import action_json, change_json, version_json
from runtime.library.library import Saved
from runtime.library.stored import StoredAction
from runtime.library.used import used_in
from runtime.web.access import Admin, Previewing, account_of, actor_of
from runtime.web.action_bodies import (
    Action,
    ActionBody,
    ActionInfo,
    ActionPage,
    ChangeMade,
    ChangePage,
    Differences,
    DuplicateBody,
    Publication,
    PublishBody,
    Uses,
    Version,
    VersionInfo,
    VersionPage,
    action_answer,
    difference_answer,
    use_answer,
)
from runtime.web.bodies import ACCOUNT_ID, IdText, Responses, problems
from runtime.web.drafts import draft_problem
from runtime.web.etags import ETAG, IfMatch, etag_header, etag_of
from runtime.web.parameters import Limit
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1/accounts/{account_id}/actions", tags=["actions"])

_READING = problems(401, 403, 404, 422, 429, 503)
_CHANGING = problems(400, 401, 403, 404, 409, 412, 422, 428, 429, 503)
_VERSION_PATTERN = r"^([0-9a-f]{12}|[1-9][0-9]{0,8})$"
_VERSION_RULE = "Its name, or its number"

ActionId = Annotated[str, Path(pattern=ID_PATTERN, description=ID_RULE, examples=["route"])]
VersionId = Annotated[
    str, Path(pattern=_VERSION_PATTERN, description=f"{_VERSION_RULE}.", examples=["1"])
]
Before = Annotated[
    int | None, Query(alias="cursor", ge=1, description="`next_cursor` of the page before.")
]


def _with_etag(status: int) -> Responses:
    return {status: {"headers": ETAG}}


@router.get("", operation_id="list_actions", responses=_READING)
async def list_actions(
    account_id: ACCOUNT_ID,
    key: Previewing,
    service: ServiceOf,
    workspace_id: Annotated[
        IdText | None, Query(description="Those of this workspace, and those of all.")
    ] = None,
    archived: Annotated[bool, Query(description="Archived ones instead of the others.")] = False,
    limit: Limit = 100,
    cursor: Annotated[
        str | None, Query(pattern=ID_PATTERN, description="`next_cursor` of the page before.")
    ] = None,
) -> ActionPage:
    """Return the account's own actions, in the order of their ids.

    Actions of the configuration, which all accounts share, are not among them.
    """
    found = await service.library.page(
        account_of(key, account_id),
        workspace_id=workspace_id,
        archived=archived,
        after=cursor or "",
        limit=limit + 1,
    )
    page = found[:limit]
    return ActionPage(
        items=[ActionInfo(**action_json(one)) for one in page],
        next_cursor=page[-1].action_id if len(found) > limit else None,
    )


@router.get("/{action_id:id}", operation_id="get_action", responses=_READING | _with_etag(200))
async def get_action(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    key: Previewing,
    service: ServiceOf,
    response: Response,
) -> Action:
    """Return an action with its draft, and the draft's mistakes."""
    found = await service.library.find(account_of(key, account_id), action_id)
    checked = await service.library.check(action_id, found.draft)
    response.headers["ETag"] = etag_header(found.etag)
    return action_answer(found, checked)


@router.put(
    "/{action_id:id}",
    operation_id="put_action",
    responses=_CHANGING
    | _with_etag(200)
    | {201: {"model": Action, "description": "It is new.", "headers": ETAG}},
)
async def put_action(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    body: ActionBody,
    key: Admin,
    service: ServiceOf,
    response: Response,
    if_match: IfMatch = None,
) -> Action:
    """Save an action: name, workspace and draft as a whole.

    Without `If-Match` it is created (201); one that is there is changed only with its `ETag`. A
    draft is saved with its mistakes, which the answer lists. Executions run what is published.
    """
    account_of(key, account_id)
    with _draft_refused():
        if if_match is None:
            saved = await _created(service, account_id, action_id, body, actor_of(key))
        else:
            saved = await service.library.save(
                account_id,
                action_id,
                etag=etag_of(if_match),
                name=body.name,
                workspace_id=body.workspace_id,
                draft=body.draft,
            )
    response.status_code = 201 if saved.is_new else 200
    response.headers["ETag"] = etag_header(saved.action.etag)
    return action_answer(saved.action, saved.checked)


@router.post(
    "/{action_id:id}:publish",
    operation_id="publish_action",
    responses=_CHANGING | _with_etag(200),
)
async def publish_action(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    body: PublishBody,
    key: Admin,
    service: ServiceOf,
    response: Response,
    if_match: IfMatch = None,
) -> Publication:
    """Make the draft the version that runs, in every process within a second.

    The version is named by its content and never changes: publishing the same content again makes
    no other one. A draft with mistakes is refused (422), each with its field.
    """
    account_of(key, account_id)
    with _draft_refused():
        done = await service.library.publish(
            account_id, action_id, etag=etag_of(if_match), note=body.note, by=actor_of(key)
        )
    response.headers["ETag"] = etag_header(done.action.etag)
    return Publication(
        **version_json(done.version),
        content=done.version.content,
        is_new=done.is_new,
        in_force=done.in_force,
        etag=done.action.etag,
    )


@router.post(
    "/{action_id:id}:duplicate",
    operation_id="duplicate_action",
    status_code=201,
    responses=problems(400, 401, 403, 404, 409, 422, 429, 503) | _with_etag(201),
)
async def duplicate_action(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    body: DuplicateBody,
    key: Admin,
    service: ServiceOf,
    response: Response,
) -> Action:
    """Create an action with the draft of this one. Nothing of it is published."""
    account_of(key, account_id)
    saved = await service.library.duplicate(
        account_id,
        action_id,
        new_id=body.action_id,
        name=body.name,
        workspace_id=body.workspace_id,
        by=actor_of(key),
    )
    response.headers["ETag"] = etag_header(saved.action.etag)
    return action_answer(saved.action, saved.checked)


@router.post(
    "/{action_id:id}:archive", operation_id="archive_action", responses=_CHANGING | _with_etag(200)
)
async def archive_action(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    key: Admin,
    service: ServiceOf,
    response: Response,
    if_match: IfMatch = None,
) -> ActionInfo:
    """Take an action off the lists, and refuse changes of it.

    What names it goes on, so that no campaign fails: its published version still runs. To stop it,
    switch it off; its executions then get fallback values.
    """
    account_of(key, account_id)
    done = await service.library.archive(
        account_id, action_id, etag=etag_of(if_match), by=actor_of(key)
    )
    return _info(done, response)


@router.post(
    "/{action_id:id}:restore", operation_id="restore_action", responses=_CHANGING | _with_etag(200)
)
async def restore_action(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    key: Admin,
    service: ServiceOf,
    response: Response,
    if_match: IfMatch = None,
) -> ActionInfo:
    """Bring an archived action back to the lists."""
    account_of(key, account_id)
    done = await service.library.restore(
        account_id, action_id, etag=etag_of(if_match), by=actor_of(key)
    )
    return _info(done, response)


@router.get("/{action_id:id}/versions", operation_id="list_action_versions", responses=_READING)
async def list_action_versions(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    key: Previewing,
    service: ServiceOf,
    limit: Limit = 100,
    cursor: Before = None,
) -> VersionPage:
    """Return the published versions, the last one first."""
    found = await service.library.versions(
        account_of(key, account_id), action_id, before=cursor, limit=limit + 1
    )
    page = found[:limit]
    return VersionPage(
        items=[VersionInfo(**version_json(one)) for one in page],
        next_cursor=str(page[-1].number) if len(found) > limit else None,
    )


@router.get(
    "/{action_id:id}/versions/{version}", operation_id="get_action_version", responses=_READING
)
async def get_action_version(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    version: VersionId,
    key: Previewing,
    service: ServiceOf,
) -> Version:
    """Return a published version with its content."""
    found = await service.library.version(account_of(key, account_id), action_id, version)
    return Version(**version_json(found), content=found.content)


@router.get(
    "/{action_id:id}/versions/{version}/differences",
    operation_id="compare_action_versions",
    responses=_READING,
)
async def compare_action_versions(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    version: VersionId,
    key: Previewing,
    service: ServiceOf,
    to: Annotated[
        str,
        Query(
            pattern=rf"^draft$|{_VERSION_PATTERN}",
            description=f"{_VERSION_RULE}, or `draft`.",
        ),
    ] = "draft",
) -> Differences:
    """Return the fields in which another version, or the draft, differs from this version."""
    owner = account_of(key, account_id)
    before = await service.library.version(owner, action_id, version)
    if to == "draft":
        draft = (await service.library.find(owner, action_id)).draft
        name, after = "draft", {"id": action_id, **draft}
    else:
        other = await service.library.version(owner, action_id, to)
        name, after = other.version, other.content
    return Differences(
        before=before.version,
        after=name,
        items=[difference_answer(one) for one in differences(before.content, after)],
    )


@router.get("/{action_id:id}/history", operation_id="list_action_history", responses=_READING)
async def list_action_history(
    account_id: ACCOUNT_ID,
    action_id: ActionId,
    key: Previewing,
    service: ServiceOf,
    limit: Limit = 100,
    cursor: Before = None,
) -> ChangePage:
    """Return when an action was created, published, archived and restored, and by whom."""
    found = await service.library.history(
        account_of(key, account_id), action_id, before=cursor, limit=limit + 1
    )
    page = found[:limit]
    return ChangePage(
        items=[ChangeMade(**change_json(one)) for one in page],
        next_cursor=str(page[-1].number) if len(found) > limit else None,
    )


@router.get("/{action_id:id}/used-where", operation_id="list_action_uses", responses=_READING)
async def list_action_uses(
    account_id: ACCOUNT_ID, action_id: ActionId, key: Previewing, service: ServiceOf
) -> Uses:
    """Return the campaigns that ran an action, as far as their executions are archived.

    Actions of the configuration can be asked for too.
    """
    owner = account_of(key, account_id)
    found = await used_in(await service.store.database(), owner, action_id)
    return Uses(items=[use_answer(one) for one in found])


async def _created(
    service: Service, account_id: str, action_id: str, body: ActionBody, by: str
) -> Saved:
    """Create an action; one that is there is changed only with If-Match."""
    await service.ledger.accounts.balance(account_id)  # AccountUnknown for one that is not open
    if await service.library.exists(account_id, action_id):
        etag_of(None)
    return await service.library.create(
        account_id,
        action_id,
        name=body.name,
        workspace_id=body.workspace_id,
        draft=body.draft,
        by=by,
    )


def _info(action: StoredAction, response: Response) -> ActionInfo:
    response.headers["ETag"] = etag_header(action.etag)
    return ActionInfo(**action_json(action))


@contextmanager
def _draft_refused() -> Iterator[None]:
    try:
        yield
    except DraftRefused as error:
        raise draft_problem(error, "draft.") from None
