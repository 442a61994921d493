"""Actions over HTTP: drafts, publishing, versions, and what executions run of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from runtime.actions.spec import ActionSpec
from runtime.api_keys.keys import Scope
from runtime.archive.copier import Copier
from runtime.redis.keys import Keys
from tests.harness.service import Served, open_served, request_body
from tests.harness.workbench import ACCOUNT, OUTPUTS

pytestmark = pytest.mark.asyncio(loop_scope="module")
BASE = f"/v1/accounts/{ACCOUNT}/actions"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """One service for all tests, each of which has actions of its own."""
    folder: Path = tmp_path_factory.mktemp("served")
    async with open_served(folder, redis_server.url, f"t{folder.name}") as opened:
        await opened.open_account()
        yield opened


def draft(**changes: Any) -> dict[str, Any]:
    content = {
        "model": "writer",
        "user": "{{ customer.message }}",
        "outputs": OUTPUTS,
        "limits": {"max_output_tokens": 120, "deadline_ms": 30_000, "attempts": 1},
    }
    return content | changes


async def put(
    served: Served, action_id: str, content: dict[str, Any], etag: str | None = None, **more: Any
) -> httpx.Response:
    headers = {} if etag is None else {"If-Match": etag}
    body = {"name": action_id, "draft": content} | more
    return await served.operator.put(f"{BASE}/{action_id}", json=body, headers=headers)


async def publish(served: Served, action_id: str, etag: str, note: str = "") -> httpx.Response:
    return await served.operator.post(
        f"{BASE}/{action_id}:publish", json={"note": note}, headers={"If-Match": etag}
    )


async def published(served: Served, action_id: str, content: dict[str, Any]) -> httpx.Response:
    saved = await put(served, action_id, content)
    assert saved.status_code == 201, saved.text
    answer = await publish(served, action_id, saved.headers["ETag"])
    assert answer.status_code == 200, answer.text
    return answer


async def run(served: Served, number: int, action_id: str) -> httpx.Response:
    body = request_body(number, action=action_id, execution_id=f"j{number}:{action_id}:1")
    return await served.operator.post("/v1/executions", json=body)


async def test_what_is_published_runs_and_what_is_drafted_does_not(served: Served) -> None:
    saved = await put(served, "greet", draft())
    assert (saved.status_code, saved.json()["mistakes"]) == (201, [])
    assert (await run(served, 1, "greet")).status_code == 404
    first = await publish(served, "greet", saved.headers["ETag"], "first")
    assert (first.json()["number"], first.json()["in_force"]) == (1, True)
    ran = (await run(served, 2, "greet")).json()
    assert (ran["status"], ran["action_version"]) == ("model", first.json()["version"])
    changed = await put(
        served, "greet", draft(user="Hi {{ customer.message }}"), first.headers["ETag"]
    )
    assert changed.json()["is_changed"]
    second = (await publish(served, "greet", changed.headers["ETag"], "second")).json()
    assert (await run(served, 3, "greet")).json()["action_version"] == second["version"]
    versions = (await served.operator.get(f"{BASE}/greet/versions")).json()["items"]
    assert [(one["number"], one["note"]) for one in versions] == [(2, "second"), (1, "first")]
    by_number = (await served.operator.get(f"{BASE}/greet/versions/1")).json()
    by_name = (await served.operator.get(f"{BASE}/greet/versions/{by_number['version']}")).json()
    assert by_number == by_name
    compared = await served.operator.get(f"{BASE}/greet/versions/1/differences", params={"to": "2"})
    assert [(one["path"], one["kind"]) for one in compared.json()["items"]] == [("user", "changed")]


async def test_an_unfinished_draft_is_saved_and_publishing_it_is_refused(served: Served) -> None:
    unfinished = {
        "model": "writr",
        "user": "Hello\n{{ customer.message }",
        "outputs": {"mood": {"type": "boolean", "fallback": "maybe"}},
        "limits": {"max_output_tokens": 100, "deadline_ms": 900_000},
        "temprature": 1,
    }
    saved = await put(served, "half", unfinished)
    assert saved.status_code == 201
    found = {one["field"]: (one["message"], one["line"]) for one in saved.json()["mistakes"]}
    assert found.keys() == {
        "draft.model",
        "draft.user",
        "draft.outputs.mood.fallback",
        "draft.limits.deadline_ms",
        "draft.temprature",
    }
    assert found["draft.user"][1] == 2
    assert "did you mean 'writer'" in found["draft.model"][0]
    assert "did you mean 'temperature'" in found["draft.temprature"][0]
    assert "reservation_ttl_ms" in found["draft.limits.deadline_ms"][0]
    refused = await publish(served, "half", saved.headers["ETag"])
    assert (refused.status_code, refused.json()["type"]) == (
        422,
        "urn:creditgate:problem:invalid_request",
    )
    assert {one["field"] for one in refused.json()["errors"]} == found.keys()
    assert (await served.operator.get(f"{BASE}/half")).json()["published"] is None


@pytest.mark.parametrize(
    "content, field, words",
    [
        ({"model": "retired"}, None, None),
        ({"temperature": 3}, "draft.temperature", "at most 2"),
        ({"outputs": {}}, "draft.outputs", "at least 1"),
        ({"limits": {"max_output_tokens": 0}}, "draft.limits.max_output_tokens", "more than 0"),
        ({"limits": {}}, "draft.limits.max_output_tokens", "missing"),
        ({"id": "another"}, "draft.id", "left out"),
        ({"user": "{{ person.name }}"}, "draft.user", "person"),
        ({"user": 3}, "draft.user", "text"),
        ({"outputs": []}, "draft.outputs", "mapping"),
        ({"outputs": {"x": {"type": "bool"}}}, "draft.outputs.x", "boolean"),
    ],
)
async def test_a_mistake_names_its_field_and_what_is_allowed(
    served: Served, content: dict[str, Any], field: str | None, words: str | None
) -> None:
    checked = await served.service.library.check("any", draft(**content))
    found = [(f"draft.{one.field}", one.message) for one in checked.mistakes]
    if field is None:
        assert (found, len(checked.warnings)) == ([], 1)
    else:
        assert [name for name, _ in found] == [field]
        assert words is not None
        assert words in found[0][1]


async def test_a_change_takes_the_etag_of_what_was_read(served: Served) -> None:
    saved = await put(served, "tagged", draft())
    without = await put(served, "tagged", draft())
    assert (without.status_code, without.json()["type"]) == (
        428,
        "urn:creditgate:problem:if_match_missing",
    )
    changed = await put(served, "tagged", draft(), saved.headers["ETag"], name="new")
    assert (changed.status_code, changed.json()["name"]) == (200, "new")
    for verb in ("publish", "archive", "restore"):
        stale = await served.operator.post(
            f"{BASE}/tagged:{verb}",
            json={} if verb == "publish" else None,
            headers={"If-Match": saved.headers["ETag"]},
        )
        assert (stale.status_code, stale.json()["type"]) == (
            412,
            "urn:creditgate:problem:action_changed",
        )


async def test_equal_content_is_one_version_however_often_it_is_published(served: Served) -> None:
    first = await published(served, "same", draft())
    other = await put(served, "same", draft(user="Other"), first.headers["ETag"])
    second = await publish(served, "same", other.headers["ETag"])
    back = await put(served, "same", draft(), second.headers["ETag"])
    third = await publish(served, "same", back.headers["ETag"], "back")
    assert (third.json()["version"], third.json()["number"], third.json()["is_new"]) == (
        first.json()["version"],
        1,
        False,
    )
    history = (await served.operator.get(f"{BASE}/same/history")).json()["items"]
    assert [one["kind"] for one in history] == ["published"] * 3 + ["created"]
    assert history[0]["note"] == "back"
    assert (await run(served, 4, "same")).json()["action_version"] == first.json()["version"]


async def test_an_archived_action_still_runs_and_is_on_no_list(served: Served) -> None:
    first = await published(served, "old", draft())
    archived = await served.operator.post(
        f"{BASE}/old:archive", headers={"If-Match": first.headers["ETag"]}
    )
    assert archived.json()["archived_at"] is not None
    etag = archived.headers["ETag"]
    assert (await run(served, 5, "old")).status_code == 200
    listed = (await served.operator.get(BASE)).json()["items"]
    assert "old" not in {one["action_id"] for one in listed}
    listed = (await served.operator.get(BASE, params={"archived": True})).json()["items"]
    assert "old" in {one["action_id"] for one in listed}
    refused = await put(served, "old", draft(), etag)
    assert (refused.status_code, refused.json()["type"]) == (
        409,
        "urn:creditgate:problem:action_archived",
    )
    restored = await served.operator.post(f"{BASE}/old:restore", headers={"If-Match": etag})
    assert restored.json()["archived_at"] is None


async def test_a_duplicate_has_the_draft_and_nothing_published(served: Served) -> None:
    await published(served, "origin", draft(user="One"))
    copied = await served.operator.post(
        f"{BASE}/origin:duplicate", json={"action_id": "copy", "workspace_id": "retail"}
    )
    assert copied.status_code == 201
    found = (await served.operator.get(f"{BASE}/copy")).json()
    assert (found["draft"]["user"], found["published"]) == ("One", None)
    taken = await served.operator.post(f"{BASE}/origin:duplicate", json={"action_id": "copy"})
    assert taken.status_code == 409


async def test_lists_are_pages_and_a_workspace_sees_its_own_and_the_accounts(
    served: Served,
) -> None:
    await served.open_account("pages")
    base = "/v1/accounts/pages/actions"
    for number, workspace_id in enumerate(["retail", "travel", None, "retail"]):
        body: dict[str, Any] = {"name": "x", "workspace_id": workspace_id, "draft": {}}
        await served.operator.put(f"{base}/a{number}", json=body)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 2, "workspace_id": "retail"}
        params |= {"cursor": cursor} if cursor else {}
        page = (await served.operator.get(base, params=params)).json()
        seen += [one["action_id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["a0", "a2", "a3"]


async def test_an_action_of_the_account_comes_before_the_configs(served: Served) -> None:
    await served.open_account("own")
    base = "/v1/accounts/own/actions/route"
    saved = await served.operator.put(base, json={"name": "own", "draft": draft(user="Mine")})
    before = await served.operator.post("/v1/executions", json=request_body(6, account_id="own"))
    assert before.status_code == 200
    done = await served.operator.post(
        f"{base}:publish", json={}, headers={"If-Match": saved.headers["ETag"]}
    )
    after = await served.operator.post("/v1/executions", json=request_body(7, account_id="own"))
    assert before.json()["action_version"] != done.json()["version"]
    assert after.json()["action_version"] == done.json()["version"]
    others = await run(served, 8, "route")
    assert others.json()["action_version"] == before.json()["action_version"]


async def test_reading_takes_the_scope_preview_and_changing_takes_admin(served: Served) -> None:
    await put(served, "scoped", draft())
    reader = await served.client(Scope.PREVIEW)
    assert (await reader.get(f"{BASE}/scoped")).status_code == 200
    body = {"name": "x", "draft": {}}
    assert (await reader.put(f"{BASE}/scoped", json=body)).status_code == 403
    assert (await reader.post(f"{BASE}/scoped:publish", json={})).status_code == 403
    assert (await reader.get("/v1/accounts/other/actions/scoped")).status_code == 404
    runner = await served.client(Scope.EXECUTE)
    assert (await runner.get(f"{BASE}/scoped")).status_code == 403
    owner = await served.client(Scope.ADMIN)
    assert (await owner.put(f"{BASE}/by_owner", json=body)).status_code == 201
    for client in (reader, runner, owner):
        await client.aclose()


async def test_where_an_action_is_used_comes_from_the_archive(served: Served) -> None:
    await published(served, "used", draft())
    assert (await served.operator.get(f"{BASE}/used/used-where")).json() == {"items": []}
    for number, campaign in ((10, "spring"), (11, "spring"), (12, "autumn")):
        body = request_body(
            number, action="used", campaign_id=campaign, execution_id=f"j{number}:used:1"
        )
        assert (await served.operator.post("/v1/executions", json=body)).status_code == 200
    await served.service.runtime.drain()
    copier = Copier(
        await served.service.store.database(),
        served.service.client,
        Keys(served.service.config.redis.key_prefix),
        timeout_ms=10_000,
    )
    await copier.run_once()
    items = (await served.operator.get(f"{BASE}/used/used-where")).json()["items"]
    found = {one["campaign_id"]: (one["workspace_id"], one["executions"]) for one in items}
    assert found == {"spring": ("retail", 2), "autumn": ("retail", 1)}
    assert all(one["charged_mc"] > 0 and one["last_run_at"].endswith("Z") for one in items)


async def test_a_draft_that_can_not_be_stored_changes_nothing(served: Served) -> None:
    large = await put(served, "large", draft(user="x" * 300_000))
    assert (large.status_code, large.json()["errors"][0]["field"]) == (422, "draft")
    assert (await served.operator.get(f"{BASE}/large")).status_code == 404
    odd = await put(served, "odd", {"user": "\x00", "model": None, "": []})
    assert odd.status_code == 201
    assert (await served.operator.get(f"{BASE}/odd")).json()["draft"]["user"].startswith("\x00")


async def test_a_reload_of_the_config_keeps_the_accounts_own_actions(served: Served) -> None:
    own = await published(served, "kept", draft())
    config = served.service.config
    added = ActionSpec.model_validate({"id": "added", **draft()})
    await served.service.runtime.reload(
        config.model_copy(update={"actions": {**config.actions, "added": added}})
    )
    assert (await run(served, 20, "added")).json()["action_version"] == added.version
    assert (await run(served, 21, "kept")).json()["action_version"] == own.json()["version"]


async def test_a_preview_runs_any_published_version(served: Served) -> None:
    first = await published(served, "tried", draft(user="One {{ customer.message }}"))
    changed = await put(served, "tried", draft(user="Two"), first.headers["ETag"])
    await publish(served, "tried", changed.headers["ETag"])
    names = Keys(served.service.config.redis.key_prefix)
    version = first.json()["version"]
    await served.service.client.delete(names.action_version(ACCOUNT, "tried", version))
    body = {
        "account_id": ACCOUNT,
        "action": "tried",
        "version": version,
        "workspace_id": "retail",
        "people": [{"data": {"customer": {"message": "Hello"}}}],
    }
    answer = await served.operator.post("/v1/previews", json=body)
    assert answer.status_code == 200, answer.text
    assert version in answer.text
