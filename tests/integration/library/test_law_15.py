"""Drafts and stored actions at their bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runtime.actions.spec import ActionSpec
from runtime.library import source as source_module
from runtime.library.checking import MOST_DRAFT_BYTES, check_action, draft_text
from runtime.library.records import MOST_CONTENT_BYTES, content_of, spec_of
from runtime.library.source import MOST_KNOWN, LibraryActions
from tests.harness.bounds import assert_linear, loop_holds_s, peak_bytes
from tests.harness.library import ACTION, LibraryDesk, draft
from tests.harness.workbench import ACCOUNT, make_config

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
NOW = datetime(2026, 7, 1, tzinfo=UTC)


def large(size: int) -> dict[str, Any]:
    """A draft of about so many bytes, with about as much markup as templates may have."""
    markup = "{{ customer.message }} " * 600
    return draft(system=markup, user=markup + "x" * (size - 2 * len(markup) - 300))


async def test_law_15_a_draft_at_its_bound_does_not_hold_the_event_loop(desk: LibraryDesk) -> None:
    content = large(MOST_DRAFT_BYTES)
    assert MOST_DRAFT_BYTES * 0.9 < len(draft_text(content)) <= MOST_DRAFT_BYTES

    async def work() -> None:
        saved = await desk.library.create(
            ACCOUNT, ACTION, name="x", workspace_id=None, draft=content, by="test"
        )
        await desk.library.publish(ACCOUNT, ACTION, etag=saved.action.etag, note="", by="test")
        await desk.source().get(ACCOUNT, ACTION)

    _, holds_s = await loop_holds_s(work())
    assert max(holds_s) < 0.05


@pytest.mark.long
def test_law_15_a_draft_takes_memory_and_time_in_proportion(tmp_path: Path, store_url: str) -> None:
    config = make_config(tmp_path, "redis://127.0.0.1:9", "x", "http://127.0.0.1:9/v1")

    def check(content: dict[str, Any]) -> None:
        assert check_action(config, ACTION, content, NOW).spec is not None

    assert peak_bytes(lambda: check(large(MOST_DRAFT_BYTES))) < 32_000_000
    assert_linear(large, check, MOST_DRAFT_BYTES // 2)


@pytest.mark.long
def test_law_15_a_stored_action_takes_memory_and_time_in_proportion(store_url: str) -> None:
    def content(size: int) -> str:
        return content_of(ActionSpec.model_validate({"id": ACTION, **large(size)}))

    def read(text: str) -> None:
        spec_of(text)

    largest = content(MOST_CONTENT_BYTES)
    assert peak_bytes(lambda: read(largest)) < 32_000_000
    assert_linear(content, read, MOST_CONTENT_BYTES // 2)


async def test_law_15_a_process_remembers_a_bounded_number_of_actions(
    desk: LibraryDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "MOST_SPECS", 3)
    monkeypatch.setattr(source_module, "MOST_KNOWN", 3)
    for number in range(5):
        await desk.publish(str(number), action_id=f"a{number}")
    other = desk.source()
    for number in range(5):
        assert await desk.prompt_of(other, f"a{number}") == str(number)
    assert (len(other._specs._specs), len(other._known)) == (3, 3)  # noqa: SLF001 - the bound
    assert await desk.prompt_of(other, "a0") == "0"


@pytest.mark.long
def test_law_15_knowing_the_most_actions_takes_at_most_10_mb(
    desk: LibraryDesk, store_url: str
) -> None:
    def remember(count: int) -> LibraryActions:
        actions = LibraryActions(desk.records, lambda account_id, action_id: None)
        for number in range(count):
            known = source_module._Known("0" * 12, 0.0)  # noqa: SLF001 - what fills its memory
            actions._remember((f"account-{number}", f"action-{number}"), known)  # noqa: SLF001
        return actions

    assert peak_bytes(lambda: remember(2 * MOST_KNOWN)) < 10_000_000
    assert_linear(lambda size: size, remember, MOST_KNOWN)
