"""What holds for every test: no real network, and how hypothesis searches."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from runtime.redis.embedded import EmbeddedRedisUnavailable, find_server
from tests.harness import network_guard

# At once, so that imports during collection are guarded too.
network_guard.install()

# No deadlines: a slow machine is not a wrong answer. In CI the same examples every time, so that
# a red run is about the change at hand.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def limit_s(item: pytest.Item) -> float:
    """The test's own time limit, if that is longer than the usual one."""
    usual_s = float(item.config.getini("timeout"))
    own = item.get_closest_marker("timeout")
    return max(usual_s, own.args[0] if own else 0)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark tests that may take longer than others, or measure CPU: they are run beside no other.

    Those marked ``beside`` count on no time, however long they take.
    """
    takes_long = limit_s(item) > float(item.config.getini("timeout"))
    if ("law_15" in item.name or takes_long) and not item.get_closest_marker("beside"):
        item.add_marker("alone")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with those that may take longest, so that no process is left alone with one.

    All others have the same time limit, and stay in their random order.
    """
    items.sort(key=limit_s, reverse=True)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Let reports be sent from process to process whatever a test logged: half a character too."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {name: _encodable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_encodable, value))
    return value


_gone_through: set[str] = set()


def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through all tests and their modules each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def leaks_are_told() -> Iterator[None]:
    """Have a test that left sockets open hear of it itself, not whichever runs next.

    What nobody holds any more is collected now, and warned of in this test's name. So is what the
    frames of its error hold, if it failed: pytest keeps the last one for debuggers.
    """
    before = open_sockets()
    yield
    if open_sockets() > before:
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            if hasattr(sys, name):
                delattr(sys, name)
        collect_garbage()


def collect_garbage() -> None:
    """Collect garbage; LiteLLM's modules, half a second's work, are gone through once."""
    gc.collect()
    if "litellm" in sys.modules and not _gone_through:
        gc.freeze()
        _gone_through.add("litellm")


def open_sockets() -> int:
    """Return how many sockets this process has open; 0 where the system does not tell."""
    return sum(name.startswith("socket:") for name in _what_is_open())


def _what_is_open() -> Iterator[str]:
    """Read what the process's file descriptors are."""
    with suppress(OSError), os.scandir("/proc/self/fd") as descriptors:
        for descriptor in descriptors:
            with suppress(OSError):
                yield str(Path(descriptor.path).readlink())


@pytest.fixture(autouse=True)
def refused_connections() -> Iterator[list[str]]:
    """Hosts that this test was kept from; the test fails if any are left at its end."""
    network_guard.REFUSED.clear()
    yield network_guard.REFUSED
    assert not network_guard.REFUSED, f"the test tried to reach {network_guard.REFUSED}"


@pytest.fixture(scope="session")
def redis_server_program() -> None:
    """Tests that need a Redis are skipped without one, but never in CI."""
    try:
        find_server()
    except EmbeddedRedisUnavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
