"""A process that has imported what all runs of tests need but the project, and forks for each run.

It is started as a script, beside which nothing of the project is imported: each child imports that
of its own copy. On standard input it takes one run a line, as JSON; when the run has ended it
writes a line with the exit code::

    {"root": "/tmp/copy", "arguments": ["-x", ...], "output": "/tmp/output",
     "scripts_url": "redis://...", "longest_s": 600}
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

SCRIPTS_BROKEN = 99
_POLL_S = 0.01


def main(modules: list[str]) -> None:
    """Import the modules, and run what is asked for until standard input ends."""
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    for line in sys.stdin:
        sys.stdout.write(f"{run(json.loads(line))}\n")
        sys.stdout.flush()


def run(job: dict[str, Any]) -> int:
    """Run a job in a child, and return its exit code."""
    child = os.fork()
    if not child:
        code = 70
        try:
            code = tests_of(job)
        except BaseException:  # noqa: BLE001 - the child must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    until_s = time.monotonic() + job["longest_s"]
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until_s:
            # As by Ctrl-C, so that it stops the servers that it started.
            os.kill(child, signal.SIGINT)
            until_s = time.monotonic() + 60
        time.sleep(_POLL_S)


def tests_of(job: dict[str, Any]) -> int:
    """Run tests on a copy of the project, in this process."""
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.chdir(job["root"])
    os.environ["PYTHONPATH"] = job["root"]
    sys.path[0] = job["root"]
    sys.argv = ["pytest", *job["arguments"]]
    importlib.invalidate_caches()
    if job["scripts_url"] and not scripts_compile(job["root"], job["scripts_url"]):
        return SCRIPTS_BROKEN
    import pytest

    return int(pytest.main(job["arguments"]))


def scripts_compile(root: str, url: str) -> bool:
    """Have a server compile the copy's scripts: one that can't be is no fault to notice."""
    from redis import Redis

    scripts = importlib.import_module("runtime.credits.scripts")
    assert scripts.__file__ is not None
    assert Path(scripts.__file__).is_relative_to(root), f"{scripts.__file__} is not the copy's"
    made = scripts.assemble()
    with Redis.from_url(url) as client:
        try:
            for script in (made.executions, made.accounts):
                client.script_load(script.source)
        except Exception:  # noqa: BLE001 - said to whoever reads the output
            traceback.print_exc()
            return False
    return True


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
