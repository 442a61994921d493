"""How config files are read: YAML 1.2 with positions, over several files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.config import ConfigError, Mistake, load_config
from runtime.config.document import read_document
from tests.harness.configs import NOW, found_in, mistakes_in, only_mistake

MINIMAL = "version: 1\nplans: {growth: {ai_credits: true}}\n"


def data_of(text: str) -> dict[str, object]:
    return read_document(text, "c.yaml", Path()).data


def place(mistake: Mistake) -> tuple[int | None, int | None]:
    return mistake.line, mistake.column


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "off", "12:30", "1:2:3", "2026-04-08", "=", "<<", "0b", "1.2.3"]
)
def test_words_that_other_yaml_readers_turn_into_something_else_stay_text(word: str) -> None:
    assert data_of(f"key: {word}") == {"key": word}
    assert data_of(f"{word}: key") == {word: "key"}


@pytest.mark.parametrize(
    "written, number",
    [("12", 12), ("0x1F", 31), ("0o17", 15), ("017", 17), ("100_000", 100_000), ("-3", -3)],
)
def test_integers_are_read_as_yaml_1_2_has_them(written: str, number: int) -> None:
    assert data_of(f"key: {written}") == {"key": number}


def test_numbers_with_a_point_stay_as_exact_as_they_were_written() -> None:
    assert str(data_of("key: 0.1000000000000000055511151231257827")["key"]) == (
        "0.1000000000000000055511151231257827"
    )


@pytest.mark.parametrize(
    "text, line, column",
    [
        ("a: [1\nb: 2", 2, 2),
        ("a: b: c", 1, 5),
        ("a: 1\n\tb: 2", 2, 1),
        ("a: *nowhere", 1, 4),
        ("a: 1\n---\nb: 2", 2, 1),
        ("a: 1\nb: '\x01'", 2, 5),
        ("%YAML 1.1\n---\na: no", 1, 1),
        ("- a\n- b", 1, 1),
        ("just words", 1, 1),
    ],
)
def test_what_is_not_a_yaml_mapping_is_refused_with_its_position(
    text: str, line: int, column: int
) -> None:
    assert place(only_mistake(text)) == (line, column)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n", "---\n"])
def test_an_empty_file_is_told_what_it_needs(text: str) -> None:
    assert "version" in str(mistakes_in(text)[0])


def test_nesting_that_exhausts_the_stack_is_refused() -> None:
    assert "64 levels" in only_mistake("[" * 5_000).message


def test_aliases_that_multiply_into_billions_of_values_are_refused() -> None:
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases" in mistakes_in("\n".join(levels))[-1].message


def test_a_file_whose_root_has_a_tag_is_refused_at_its_beginning() -> None:
    [mistake] = mistakes_in("!x {version: 1}\n")
    assert (mistake.line, mistake.column) == (1, 1)
    assert "the tag !x" in mistake.message


def test_an_alias_of_what_it_is_part_of_is_refused() -> None:
    found = mistakes_in(f"{MINIMAL}offers: &o\n  a: *o\n")
    assert any("contains it" in mistake.message for mistake in found)


@pytest.mark.parametrize(
    "value", ["!secret x", "!!python/name:os.system x", "!!set {a}", "!!binary aGk=", "!!int abc"]
)
def test_tags_make_nothing_but_a_mistake(value: str) -> None:
    mistake = only_mistake(f"{MINIMAL}data_dir: {value}\n")
    assert (mistake.path, mistake.line) == ("data_dir", 3)


@pytest.mark.parametrize("number", ["1e999999999", ".inf", "-.inf", ".nan", "9" * 5_000])
def test_numbers_beyond_all_measure_are_refused_without_being_computed(number: str) -> None:
    mistake = only_mistake(f"{MINIMAL}pack: {{credits: {number}}}\n")
    assert mistake.path == "pack.credits"
    assert "number" in mistake.message


@pytest.mark.parametrize("text", ['"a\\0b"', '"\\ud800"'])
def test_text_that_cannot_be_stored_is_refused_wherever_it_stands(text: str) -> None:
    assert "stored" in only_mistake(f"{MINIMAL}data_dir: {text}\n").message
    assert "stored" in only_mistake(f"{MINIMAL}{text}: 1\n").message
    assert "stored" in only_mistake(f"{MINIMAL}include: {text}\n").message


def test_a_key_given_twice_is_refused_at_its_second_place() -> None:
    mistake = only_mistake(f"{MINIMAL}redis:\n  timeout_ms: 500\n  timeout_ms: 600\n")
    assert (mistake.path, *place(mistake)) == ("redis.timeout_ms", 5, 3)
    assert "line 4" in mistake.message


def test_a_key_that_is_a_list_is_refused() -> None:
    assert place(only_mistake(f"{MINIMAL}? [a]\n: 1\n")) == (3, 3)


def test_a_value_that_was_left_out_is_reported_at_its_key() -> None:
    mistake = only_mistake(f"{MINIMAL}redis:\n\n\nexecutions: {{}}\n")
    assert (mistake.path, *place(mistake)) == ("redis", 3, 1)
    assert "nothing" in mistake.message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    return tmp_path


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.write_text(text, encoding="utf-8")
    return folder / "config.yaml"


def mistakes_of(path: Path) -> list[Mistake]:
    with pytest.raises(ConfigError) as raised:
        load_config(path, environ={}, now=NOW)
    return raised.value.mistakes


def test_included_files_are_found_from_the_file_that_includes_them(folder: Path) -> None:
    path = write(
        folder,
        config=f"{MINIMAL}include: parts/a.yaml\nendpoints: {{one: {{}}}}\n",
        parts__a="include: [deep/b.yaml]\nendpoints: {two: {}}\n",
        parts__deep__b="endpoints: {three: {}}\noffers: {}\n",
    )
    assert list(load_config(path, environ={}, now=NOW).endpoints) == ["one", "two", "three"]


def test_rate_cards_of_several_files_are_one_list(folder: Path) -> None:
    card = "rate_cards: [{{version: {0}, effective_from: {0}-01-01, rates: {{}}}}]\n"
    path = write(
        folder,
        config=f"{MINIMAL}include: old.yaml\n{card.format(2026)}",
        old=card.format(2025),
    )
    mistakes = mistakes_of(path)
    # An integer is no version: both are reported, each in its own file.
    assert {(Path(m.file).name, m.line, m.path) for m in mistakes} == {
        ("config.yaml", 4, "rate_cards[0].version"),
        ("old.yaml", 1, "rate_cards[1].version"),
    }


def test_a_mistake_in_an_included_file_is_reported_in_that_file(folder: Path) -> None:
    path = write(
        folder,
        config=f"{MINIMAL}include: parts/a.yaml\n",
        parts__a="# a comment\nredis:\n  timeout_ms: soon\n",
    )
    [mistake] = mistakes_of(path)
    assert Path(mistake.file) == folder / "parts" / "a.yaml"
    assert place(mistake) == (3, 15)


def test_an_entry_given_in_two_files_names_both(folder: Path) -> None:
    path = write(
        folder,
        config=f"{MINIMAL}include: other.yaml\n",
        other="plans:\n  growth: {ai_credits: false}\nversion: 1\n",
    )
    entry, version = mistakes_of(path)
    assert (entry.path, Path(entry.file).name) == ("plans.growth", "other.yaml")
    assert "config.yaml:2" in entry.message
    assert version.path == "version"


def test_files_that_include_each_other_are_refused(folder: Path) -> None:
    path = write(
        folder, config=f"{MINIMAL}include: a.yaml\n", a="include: b.yaml\n", b="include: a.yaml\n"
    )
    [mistake] = mistakes_of(path)
    assert "a.yaml -> b.yaml -> a.yaml" in mistake.message
    assert (Path(mistake.file).name, *place(mistake)) == ("b.yaml", 1, 10)


@pytest.mark.parametrize("included", ["config.yaml", "./config.yaml", "parts/../config.yaml"])
def test_a_file_that_includes_itself_is_refused(folder: Path, included: str) -> None:
    path = write(folder, config=f"{MINIMAL}include: {included}\n")
    assert "include each other" in mistakes_of(path)[0].message


@pytest.mark.parametrize("value", ["nowhere.yaml", ".", "", "5", "{a: b}", "[a.yaml, a.yaml]"])
def test_an_include_that_cannot_be_followed_is_refused_at_its_position(
    folder: Path, value: str
) -> None:
    path = write(folder, config=f"{MINIMAL}include: {value}\n", a="offers: {}\n")
    [mistake] = mistakes_of(path)
    assert (mistake.path, mistake.line) == ("include", 3)


def test_all_files_that_are_not_yaml_are_reported_at_once(folder: Path) -> None:
    path = write(
        folder,
        config=f"{MINIMAL}include: [a.yaml, b.yaml, c.yaml]\n",
        a="a: [",
        b="- no mapping\n",
    )
    (folder / "c.yaml").write_bytes(b"fine: 1\nnot: \xff\n")
    assert [(Path(m.file).name, m.line) for m in mistakes_of(path)] == [
        ("a.yaml", 1),
        ("b.yaml", 1),
        ("c.yaml", 2),
    ]


def test_invalid_utf_8_is_reported_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("version: 1\nplans: {größe: \xff".encode("latin-1"))
    [mistake] = mistakes_of(path)
    assert place(mistake) == (2, 11)
    assert "0xf6" in mistake.message


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_config(path, environ={}, now=NOW).plans["growth"].ai_credits


@pytest.mark.parametrize("name", ["missing.yaml", "folder", "missing/config.yaml", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    [mistake] = mistakes_of(tmp_path / name)
    assert str(mistake).startswith(str(tmp_path / name))


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    [mistake] = mistakes_of(tmp_path / "config.yaml")
    assert "config.example.yaml" in mistake.message


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=80) | st.text(":{}[]-#&*!|>'\"%@`,? \nab1"))
def test_no_text_makes_anything_but_a_config_or_its_mistakes(text: str) -> None:
    for mistake in found_in(text):
        assert mistake.line is None or 1 <= mistake.line <= text.count("\n") + 2
        assert mistake.column is None or mistake.column >= 1


FRAGMENTS = st.sampled_from(
    [
        *(
            "version: 1\n",
            "plans: {}\n",
            "plans:\n  a: {ai_credits: true}\n",
            "actions:\n",
            "  a:\n",
        ),
        *(
            "- ",
            "? ",
            ": ",
            "  ",
            "\n",
            "\t",
            "[",
            "]",
            "{",
            "}",
            ",",
            "|\n",
            ">-\n",
            "# x\n",
            "---\n",
        ),
        *(
            "...\n",
            "&a ",
            "*a",
            "&a [*a]",
            "<<: *a\n",
            "!!str ",
            "!!binary ",
            "!!int x",
            "!x ",
            "!<x> ",
        ),
        *("%YAML 1.1\n", "%YAML 1.2\n---\n", "%TAG ! x\n---\n", "%\n", "include: [x.yaml]\n"),
        *("0x1F", "0o7", "1_0", "1e9999", ".nan", ".inf", "-0", "9" * 40, "2026-01-01", "~", "yes"),
        *(
            '"\\ud800"',
            '"\\0"',
            "'",
            '"',
            "\x85",
            "\ufeff",
            "\u2028",
            "\x00",
            "\x1b",
            "é",
            "\U0001f600",
        ),
    ]
)
YAML_LIKE = st.lists(FRAGMENTS | st.text(max_size=3), max_size=25).map("".join)


@given(YAML_LIKE)
def test_law_15_any_yaml_makes_a_config_or_its_mistakes_with_their_lines(text: str) -> None:
    for mistake in found_in(text):
        assert mistake.line is None or 1 <= mistake.line <= len(text.splitlines()) + 2


@pytest.mark.long
@pytest.mark.timeout(600)
@settings(max_examples=5_000)
@given(YAML_LIKE)
def test_law_15_any_yaml_of_many_makes_a_config_or_its_mistakes(text: str) -> None:
    for mistake in found_in(text):
        assert mistake.line is None or 1 <= mistake.line <= len(text.splitlines()) + 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | YAML_LIKE.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_law_15_any_file_makes_a_config_or_its_mistakes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with suppress(ConfigError):
        load_config(path, environ={}, now=NOW)
