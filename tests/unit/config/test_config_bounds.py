"""Bounds of what a config and the files that it names may take."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.config.document import MOST_BYTES, MOST_FILES, read_document
from runtime.config.errors import ConfigError
from runtime.config.fields import MOST_SECRET_BYTES
from runtime.config.loader import load_config, parse_config
from tests.harness.bounds import assert_cpu, assert_linear, peak_bytes

LEAST = "version: 1\nplans: {}\n"


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(path, environ={})
    return str(raised.value)


def test_law_15_a_config_beyond_its_bound_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "# " + "x" * 20_000_000)

    assert "1,000,000 bytes" in refused(path)
    assert peak_bytes(lambda: refused(path)) < 8_000_000


def test_law_15_a_config_and_all_that_it_includes_share_one_bound(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "include: [one.yaml, two.yaml]\n")
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("actions: {}\n# " + "x" * (MOST_BYTES // 2))

    said = refused(path)

    assert "two.yaml" in said
    assert "1,000,000 bytes, with all that it includes" in said


def test_law_15_a_config_has_at_most_100_files(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    names = [f"part{number}.yaml" for number in range(MOST_FILES)]
    path.write_text(LEAST + f"include: [{', '.join(names)}]\n")
    for name in names:
        (tmp_path / name).write_text("actions: {}\n")

    assert f"at most {MOST_FILES} files" in refused(path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_law_15_a_config_that_never_ends_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "config.yaml"
    make(path)

    assert "is not a regular file" in refused(path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_law_15_a_secret_file_that_never_ends_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "secret")
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "installation_key: {file: secret}\n")

    assert "secret cannot be read: is not a regular file" in refused(path)


def test_law_15_a_secret_file_beyond_its_bound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * (MOST_SECRET_BYTES + 1))
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "installation_key: {file: secret}\n")

    assert "is larger than 65,536 bytes" in refused(path)


def test_law_15_a_secret_file_at_its_bound_takes_little_time_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "installation_key: {file: secret}\n")

    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * MOST_SECRET_BYTES)
    secret.chmod(0o600)

    def work() -> None:
        with suppress(ConfigError):
            load_config(path, environ={})

    assert_cpu(work, 0.05)
    assert peak_bytes(work) < 8_000_000


GROWING = [
    ("k{}: 1\n", "{}"),
    ("!t a,", "a: [{}]\n"),
    pytest.param(*("1,", "a: [{}1]\n"), marks=pytest.mark.long),
    pytest.param(*("  some words in a line of a prompt\n", "a: |\n{}"), marks=pytest.mark.long),
    pytest.param(*("\n", "a: b\n{}"), marks=pytest.mark.long),
    pytest.param(*(" ", "a: {}b\n"), marks=pytest.mark.long),
    pytest.param(*("x", 'a: "{}"\n'), marks=pytest.mark.long),
    pytest.param(*("a{}: &x{} 1\n", "{}"), marks=pytest.mark.long),
    pytest.param(*("*a,", "b: &a 1\na: [{}]\n"), marks=pytest.mark.long),
    pytest.param(*("!!str a,", "a: [{}]\n"), marks=pytest.mark.long),
    pytest.param(*("%41", "a: !{} 1\n"), marks=pytest.mark.long),
    pytest.param(*("t", "a: !<{}> 1\n"), marks=pytest.mark.long),
    pytest.param(*("%X y\n", "{}---\na: 1\n"), marks=pytest.mark.long),
    pytest.param(*("---\n", "a: 1\n{}"), marks=pytest.mark.long),
    pytest.param(*("[", "a: {}"), marks=pytest.mark.long),
    pytest.param(*("- ", "{}"), marks=pytest.mark.long),
    pytest.param(*("k: 1\n", "{}"), marks=pytest.mark.long),
    pytest.param(*("[]: 1\n", "{}"), marks=pytest.mark.long),
    pytest.param(*("? a{}\n", "{}"), marks=pytest.mark.long),
]


@pytest.mark.parametrize("unit, around", GROWING)
def test_law_15_yaml_is_read_in_time_in_proportion_to_its_length(unit: str, around: str) -> None:
    def make(size: int) -> str:
        count = size // len(unit)
        return around.format("".join(unit.replace("{}", str(n)) for n in range(count)))

    def work(text: str) -> None:
        with suppress(ConfigError):
            read_document(text, "config.yaml", Path())

    assert_linear(make, work, 6_000)


ENTRIES = {
    "actions: {": "a{}: 1, ",
    "actions: {a: {": "k{}: 1, ",
    "endpoints: {": "e{}: {{api_base: 'http://169.254.1.1/'}}, ",
    "models: {": "m{}: {{litellm_model: openai/x, endpoint: e, class: quick, replaced_by: m{}0}}, ",
    "plans: {": "p{}: {{ai_credits: true}}, ",
    "rate_cards: [": "{{version: v{}, effective_from: '2026-01-01T00:00:00Z', rates: {{}}}}, ",
    "": "k{}: 1\n",
}


def config_of(head: str, count: int) -> str:
    tail = "".join({"{": "}", "[": "]"}.get(sign, "") for sign in reversed(head))
    return f"version: 1\n{head}{''.join(ENTRIES[head].format(n, n) for n in range(count))}{tail}\n"


def read_quietly(text: str) -> None:
    with suppress(ConfigError):
        parse_config(text, environ={})


@pytest.mark.long
@pytest.mark.parametrize("head", ENTRIES)
def test_law_15_mistakes_are_found_in_time_in_proportion_to_the_config(head: str) -> None:
    assert_linear(lambda count: config_of(head, count), read_quietly, 400)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("head", ENTRIES)
def test_law_15_a_config_at_its_bounds_takes_at_most_20_s_and_300_mb(head: str) -> None:
    entry = ENTRIES[head].format(10_000, 10_000)
    text = config_of(head, min(98_000 // (2 * entry.count(":") or 1), 990_000 // len(entry)))
    assert MOST_BYTES / 3 < len(text) <= MOST_BYTES

    assert_cpu(lambda: read_quietly(text), 20)
    assert peak_bytes(lambda: read_quietly(text)) < 300_000_000


def test_law_15_a_long_line_of_successors_is_refused() -> None:
    models = "".join(
        f"  m{n}: {{litellm_model: openai/x, endpoint: e, class: quick, replaced_by: m{n + 1}}}\n"
        for n in range(30)
    )

    with pytest.raises(ConfigError) as raised:
        parse_config(f"{LEAST}endpoints: {{e: {{}}}}\nmodels:\n{models}", environ={})

    assert "m1.replaced_by: has 20 successors or more" in str(raised.value)


TOO_MANY = "more than 100,000 keys, values and aliases"


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text, line, said",
    [
        ("version: 1\na: " + "[" * 70, 2, "nested more than 64 levels deep"),
        ("version: 1\na: " + "{a: " * 70, 2, "nested more than 64 levels deep"),
        ("- " * 70, 1, "nested more than 64 levels deep"),
        ("? " * 70, 1, "nested more than 64 levels deep"),
        ("".join(f"{' ' * n}a:\n" for n in range(70)), 64, "nested more than 64 levels deep"),
        ("a: [" + "1," * 100_000 + "]", 1, TOO_MANY),
        pytest.param(
            *("k: 1\n" * 50_001, 50_000, "more than 100,000 keys, values and aliases"),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *(
                "a: &a 1\nb: [" + "*a," * 100_000 + "]",
                2,
                "more than 100,000 keys, values and aliases",
            ),
            marks=pytest.mark.long,
        ),
        (laughs(40), 1, "more than 100,000 values, counting those of aliases"),
        ("a: 1\nb: !<" + "x" * 201 + "> 1", 2, "a tag of more than 200 characters"),
        ("a: 1\nb: !" + "x" * 201 + " 1", 2, "a tag of more than 200 characters"),
        ("%TAG ! tag:" + "x" * 9_999 + "\n---\na: !b 1", 2, "a %TAG directive is not supported"),
        ("a: 1\n---\na: 1", 2, "expected a single document"),
    ],
)
def test_law_15_hostile_yaml_is_refused_where_it_exceeds_a_bound(
    text: str, line: int, said: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(text, environ={})

    (mistake,) = raised.value.mistakes
    assert said in mistake.message
    assert mistake.line == line


@pytest.mark.long
def test_law_15_all_files_of_a_config_share_the_bound_on_values(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "include: [one.yaml, two.yaml]\n")
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("actions: [" + "1," * 60_000 + "]\n")

    assert "two.yaml:1:79" in refused(path)
