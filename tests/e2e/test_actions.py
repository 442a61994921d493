"""An account's own actions from the command line."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.harness.command_line import Ended, Home
from tests.harness.pages import blocks

ACCOUNT = ("--account", "acme")
ACTION = """
id: greet
model: writer
user: |
  Greet this person.
  {{ customer.first_name }}
outputs:
  greeting: {type: text, max_length: 80, fallback: Hello}
limits: {max_output_tokens: 100}
"""


def done(ended: Ended) -> Ended:
    assert ended.status == 0, ended.stderr
    return ended


def written(folder: Path, text: str) -> str:
    path = folder / "greet.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_an_action_is_published_from_a_file_and_run(home: Home, tmp_path: Path) -> None:
    home.open_account("acme", amount_mc=5_000_000)
    file = written(tmp_path, ACTION)
    publish = ("actions", "publish", file, *ACCOUNT)
    first = done(home.run(*publish, "--note", "first", "--actor", "ann"))
    assert "Published: greet, version 1 (" in first.stdout
    written(tmp_path, ACTION.replace("Greet", "Welcome"))
    second = done(home.invoke(*publish, "--json")).json
    assert (second["number"], second["new"], second["in_force"]) == (2, True, True)

    listed = done(home.invoke("actions", "list", *ACCOUNT, "--json")).json["actions"]
    assert [(one["action_id"], one["published_number"]) for one in listed] == [("greet", 2)]
    shown = done(home.invoke("actions", "show", "greet", *ACCOUNT)).stdout
    assert "draft: as published" in shown
    history = done(home.invoke("actions", "history", "greet", *ACCOUNT)).stdout
    assert "ann" in history
    assert "first" in history

    preview = ("preview", "--action", "greet", *ACCOUNT, "--attribute", "first_name=Ann", "--json")
    assert "Welcome this person" in done(home.invoke(*preview)).stdout

    done(home.invoke("actions", "archive", "greet", *ACCOUNT))
    assert done(home.invoke("actions", "list", *ACCOUNT)).stdout.strip() == "No actions."
    again = home.invoke(*publish)
    assert again.status == 2
    assert "restore it" in again.stderr
    done(home.invoke("actions", "restore", "greet", *ACCOUNT))


def test_an_action_with_mistakes_is_not_saved(home: Home, tmp_path: Path) -> None:
    file = written(
        tmp_path, ACTION.replace("writer", "writr").replace("first_name }}", "first_name }")
    )
    refused = home.invoke("actions", "publish", file, *ACCOUNT)
    assert refused.status == 2
    assert "2 mistakes" in refused.stderr
    assert "did you mean 'writer'" in refused.stderr
    assert "user: user prompt, line 2" in refused.stderr
    assert done(home.invoke("actions", "list", *ACCOUNT)).stdout.strip() == "No actions."
    unknown = home.invoke("actions", "show", "greet", *ACCOUNT)
    assert unknown.status == 2
    assert "unknown action 'greet'" in unknown.stderr
    broken = home.invoke("actions", "publish", written(tmp_path, "a: [b"), *ACCOUNT)
    assert broken.status == 2
    assert "greet.yaml:1" in broken.stderr


def test_every_command_of_the_page_about_actions_does_what_it_says(home: Home) -> None:
    home.open_account("acme", amount_mc=5_000_000)
    [action] = blocks("docs/actions.md", "yaml")
    home.write("greet.yaml", action)
    lines = [line for block in blocks("docs/actions.md", "console") for line in block.splitlines()]
    assert len(lines) == 7
    for line in lines:
        done(home.invoke(*shlex.split(line.removeprefix("$ creditgate "))))
