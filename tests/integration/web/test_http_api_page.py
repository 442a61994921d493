"""The page about the HTTP API: its commands run, and its table is that of the code."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
from collections.abc import Iterator

from tests.harness.pages import blocks
from tests.harness.paths import ROOT
from tests.harness.service import OpenService

PAGE = "docs/http-api.md"


def problems_in_code() -> Iterator[tuple[str, int, str]]:
    """Each type of problem with its status and title, where the code writes them out."""
    for path in (ROOT / "runtime" / "web").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_OF_ERRORS":
                assert isinstance(node.value, ast.Dict)
                for row in node.value.values:
                    status, name, title = ast.literal_eval(row)
                    yield name, status, title
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Problem":
                status, name, title = node.args[:3]
                if all(isinstance(one, ast.Constant) for one in (status, name, title)):
                    yield (
                        ast.literal_eval(name),
                        ast.literal_eval(status),
                        ast.literal_eval(title),
                    )


def test_the_table_of_problems_is_that_of_the_code() -> None:
    text = (ROOT / PAGE).read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| ([0-9]{3}) \| (.+) \|$", text, re.MULTILINE)
    shown = {name: (int(status), title) for name, status, title in rows}
    found: dict[str, set[tuple[int, str]]] = {}
    for name, status, title in problems_in_code():
        found.setdefault(name, set()).add((status, title))
    assert {name for name, forms in found.items() if len(forms) > 1} == set(), "one form a type"
    assert shown == {name: forms.pop() for name, forms in found.items()}


def examples() -> Iterator[tuple[str, dict[str, object]]]:
    """Each command of the page with the answer below it."""
    for block in blocks(PAGE, "console"):
        for command, answer in re.findall(
            r"^\$ (curl (?:.*\\\n)*.*)\n(\{.*)$", block, re.MULTILINE
        ):
            yield command, json.loads(answer)


async def test_every_command_runs_and_is_answered_as_shown(open_service: OpenService) -> None:
    shown = list(examples())
    count = sum(block.count("$ curl") for block in blocks(PAGE, "console"))
    assert len(shown) == count >= 5
    async with open_service() as served:
        key = served.operator.headers["Authorization"].removeprefix("Bearer ")
        env = os.environ | {"URL": served.url, "KEY": key}
        for command, answer in shown:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-c", command), env=env, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate()
            assert process.returncode == 0, command
            assert plain(json.loads(output)) == plain(answer), command


def plain(found: object) -> object:
    """What was found, without what is another each time: ids and secrets of keys, instants."""
    if isinstance(found, list):
        return [plain(one) for one in found]
    if not isinstance(found, dict):
        return found
    random = {"key_id", "secret", "created_by", "created_at"}
    return {name: "..." if name in random else plain(one) for name, one in found.items()}
