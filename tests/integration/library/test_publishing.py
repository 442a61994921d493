"""Publishing: one of several wins; what a crash or a loss took from Redis is made up for."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL

from runtime.actions.source import UnknownAction
from runtime.actions.spec import ActionSpec
from runtime.library.errors import ActionChanged
from runtime.library.library import Published
from runtime.library.records import Pointer, content_of, spec_of
from runtime.redis.errors import RedisUnavailable
from tests.harness.library import ACTION, LibraryDesk, draft
from tests.harness.paths import ROOT
from tests.harness.workbench import ACCOUNT

texts = st.text('aÄ\n"\\\u2028 %\U0001f600', min_size=1, max_size=8)
outputs = st.dictionaries(
    st.text("abc_", min_size=1, max_size=6),
    st.one_of(
        st.builds(lambda value: {"type": "boolean", "fallback": value}, st.booleans()),
        st.builds(
            lambda value: {
                "type": "number",
                "minimum": -1e6,
                "maximum": 1e6,
                "fallback": value,
            },
            st.integers(-1_000, 1_000) | st.floats(-1e6, 1e6),
        ),
        st.builds(
            lambda options: {
                "type": "single_select",
                "options": options,
                "fallback": options[0],
                "store_as": "customer",
            },
            st.lists(st.text("abcd", min_size=1, max_size=6), min_size=1, unique=True),
        ),
    ),
    min_size=1,
    max_size=4,
)
specs = st.builds(
    lambda text, system, found, temperature: ActionSpec.model_validate(
        {
            "id": "a",
            **draft(user=f"x{text}", system=system, outputs=found, temperature=temperature),
        }
    ),
    texts,
    texts,
    outputs,
    st.none() | st.floats(0, 2),
)


@given(specs, st.randoms(use_true_random=False))
def test_a_version_is_named_by_its_content_alone(spec: ActionSpec, random: Any) -> None:
    stored = content_of(spec)
    assert spec_of(stored) == spec
    assert spec_of(stored).version == spec.version
    assert list(spec_of(stored).outputs) == list(spec.outputs)
    members = list(json.loads(stored).items())
    random.shuffle(members)
    assert spec_of(json.dumps(dict(members))).version == spec.version


@given(specs, specs)
def test_other_content_is_another_version(one: ActionSpec, other: ActionSpec) -> None:
    assert (one.version == other.version) == (one == other)


async def test_of_publishers_at_once_one_wins(desk: LibraryDesk) -> None:
    saved = await desk.library.create(
        ACCOUNT, ACTION, name="x", workspace_id=None, draft=draft(), by="test"
    )
    etag = saved.action.etag
    done = await asyncio.gather(
        *(
            desk.library.publish(ACCOUNT, ACTION, etag=etag, note=str(n), by="test")
            for n in range(8)
        ),
        return_exceptions=True,
    )
    won = [one for one in done if isinstance(one, Published)]
    assert len(won) == 1
    assert sum(isinstance(one, ActionChanged) for one in done) == 7
    [version] = await desk.library.versions(ACCOUNT, ACTION)
    assert (version.number, version.note) == (1, won[0].version.note)


@pytest.mark.parametrize(
    "store_url", [pytest.param("postgresql", marks=pytest.mark.long)], indirect=True
)
async def test_of_two_processes_one_publishes(
    desk: LibraryDesk, store_url: URL, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    saved = await desk.library.create(
        ACCOUNT, ACTION, name="x", workspace_id=None, draft=draft(), by="test"
    )
    url = store_url.render_as_string(hide_password=False)
    arguments = [url, redis_url, key_prefix, str(tmp_path), saved.action.etag]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.library.publisher", *arguments),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    told = [await process.communicate(b"go\n") for process in processes]
    assert sorted(out for out, _ in told) == [b"ActionChanged\n", b"published\n"]


async def test_a_reader_sees_the_whole_of_a_publication_or_the_one_before(
    desk: LibraryDesk,
) -> None:
    await desk.publish("0")
    seen: list[int] = []
    done = asyncio.Event()

    async def read() -> None:
        while not done.is_set():
            seen.append(int(await desk.prompt_of(desk.source())))
            await asyncio.sleep(0.005)

    reading = asyncio.create_task(read())
    for number in range(1, 15):
        await desk.publish(str(number))
    done.set()
    await reading
    assert seen == sorted(seen)
    assert await desk.prompt_of(desk.source()) == "14"


async def test_a_crash_between_sql_and_redis_is_made_up_for(
    desk: LibraryDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.republishing.run_once()
    await desk.publish("One")

    async def crash(*_: object) -> None:
        raise RedisUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(desk.records, "write", crash)
        published = await desk.publish("Two")
    assert not published.in_force
    assert await desk.prompt_of(desk.source()) == "One"
    assert await desk.republishing.run_once()
    assert await desk.prompt_of(desk.source()) == "Two"


async def test_an_older_publication_never_comes_after_a_newer_one(desk: LibraryDesk) -> None:
    await desk.publish("One")
    late = await desk.records.pointer(ACCOUNT, ACTION)
    await desk.publish("Two")
    assert late.pointer is not None
    content = content_of(ActionSpec.model_validate({"id": ACTION, **draft(user="One")}))
    await desk.records.write(ACCOUNT, ACTION, late.pointer, content)
    assert await desk.prompt_of(desk.source()) == "Two"


async def test_what_redis_lost_is_written_again(desk: LibraryDesk) -> None:
    await desk.publish("One")
    await desk.publish("Other", action_id="other")
    assert await desk.republishing.run_once()
    names = [name async for name in desk.client.scan_iter(f"{desk.keys.prefix}:*")]
    await desk.client.delete(*names)
    desk.republishing.want(ACCOUNT, "whatever")
    assert await desk.republishing.run_once()
    assert await desk.prompt_of(desk.source()) == "One"
    assert await desk.prompt_of(desk.source(), "other") == "Other"
    with pytest.raises(UnknownAction):
        await desk.source().get(ACCOUNT, "nobody's")


async def test_a_version_that_is_not_current_is_kept_for_a_while(desk: LibraryDesk) -> None:
    before = await desk.publish("One")
    await desk.publish("Two")
    found = await desk.source().get(ACCOUNT, ACTION, before.version.version)
    assert found.user == "One"
    key = desk.keys.action_version(ACCOUNT, ACTION, before.version.version)
    assert 0 < await desk.client.ttl(key) <= 30 * 86_400
    await desk.publish("One")
    assert await desk.client.ttl(key) == -1
    with pytest.raises(UnknownAction):
        await desk.source().get(ACCOUNT, ACTION, "0" * 12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    content=st.recursive(
        st.none() | st.booleans() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    )
)
async def test_any_json_object_can_be_a_draft(desk: LibraryDesk, content: Any) -> None:
    fields = content if isinstance(content, dict) else {"user": content, "outputs": content}
    checked = await desk.library.check(ACTION, draft(**fields))
    assert checked.spec is not None or checked.mistakes


def test_a_pointer_is_read_as_it_was_written() -> None:
    assert Pointer(12, "0123456789ab").text == "12;0123456789ab"
