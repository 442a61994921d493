from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiktoken import Encoding
from tiktoken_ext import openai_public  # type: ignore[import-untyped]  # it ships no types

import pricing.text_parts
import pricing.tokens
from pricing.tokens import ENCODINGS, TokenCounter, VocabularyMissing, load_encoding

MESSAGES = Path(__file__).with_name("messages.json")
SPECIAL = ("<|endoftext|>", "<|fim_prefix|>", "<|endofprompt|>", "<|im_start|>")

texts = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(
            [*SPECIAL, " ", "\n", "\r\n", "\t", "'s", "\u200d", "e\u0301", "你好", "😀"]
        ),
        st.text(st.characters(categories=["Cs", "Ll"]), max_size=5),
    ),
    max_size=20,
).map("".join)


class CountingEncoding:
    """Stands in for an encoding: one token a character, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode_ordinary(self, text: str) -> list[int]:
        self.asked.append(text)
        return [0] * len(text)


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> CountingEncoding:
    encoding = CountingEncoding()
    monkeypatch.setattr(pricing.tokens, "load_encoding", lambda name: encoding)
    return encoding


def definition_of(name: str) -> dict[str, Any]:
    """What our encoding was made of, as tiktoken would pickle it."""
    definition: Any = load_encoding(name).__getstate__()
    return dict(definition)


def bundled_ranks(url: str, expected_hash: str) -> dict[bytes, int]:
    """Stands in for tiktoken's download: the file that LiteLLM carries for the address."""
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    name = hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    content = Path(folder, "litellm_core_utils", "tokenizers", name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == expected_hash
    lines = (line.split() for line in content.splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


@pytest.mark.parametrize("name", ENCODINGS)
def test_each_encoding_is_tiktokens_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", bundled_ranks)
    theirs = openai_public.ENCODING_CONSTRUCTORS[name]()

    ours = definition_of(name)
    assert ours["pat_str"] == theirs["pat_str"]
    assert ours["mergeable_ranks"] == theirs["mergeable_ranks"]


@pytest.mark.parametrize("name", ENCODINGS)
def test_counts_are_those_of_tiktoken_for_any_text(name: str) -> None:
    counter = TokenCounter(name)
    ours = definition_of(name)
    theirs = Encoding(
        "theirs",
        pat_str=ours["pat_str"],
        mergeable_ranks=ours["mergeable_ranks"],
        special_tokens={word: 500_000 + index for index, word in enumerate(SPECIAL)},
    )

    @settings(deadline=None)
    @given(texts)
    def counts_agree(text: str) -> None:
        assert counter.count_text(text) == len(theirs.encode(text, disallowed_special=()))

    counts_agree()


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_request_in_any_script_is_counted_exactly_and_by_tiktokens_own_encoding(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", bundled_ranks)
    theirs = Encoding(**openai_public.ENCODING_CONSTRUCTORS[name]())
    counter = TokenCounter(name)

    for texts in json.loads(MESSAGES.read_text(encoding="utf-8")).values():
        messages = [{"role": "user", "content": text} for text in texts]
        expected = sum(4 + len(theirs.encode(text, disallowed_special=())) for text in texts)
        assert counter.count_messages(messages) == 3 + expected


@pytest.mark.parametrize("name", ENCODINGS)
def test_known_texts_have_their_known_counts(name: str) -> None:
    counter = TokenCounter(name)

    assert counter.count_text("") == 0
    assert counter.count_text("hello world") == 2
    assert counter.count_text("<|endoftext|>") > 1


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("unit", ["a", "A", " ", "\n", "^", "/", "1", "e\u0301", "字", "😀", "aA"])
def test_100_kb_of_one_thing_are_counted_exactly(name: str, unit: str) -> None:
    text = unit * (100_000 // len(unit.encode()))

    assert TokenCounter(name).count_text(text) == len(load_encoding(name).encode_ordinary(text))


def exact(name: str, text: str) -> int:
    return len(load_encoding(name).encode_ordinary(text))


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(ENCODINGS), texts)
@example("o200k_base", "0\r 0\r")
@example("p50k_base", "x\r\n\r\n  ")
def test_long_texts_of_words_are_counted_exactly_though_in_parts(name: str, text: str) -> None:
    text = f"{text} word " * (300_000 // (len(text) + 6) + 1)

    assert TokenCounter(name).count_text(text) == exact(name, text)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(ENCODINGS), texts.filter(bool))
@example("o200k_base", "0\r 0\r word")
@example("cl100k_base", "^\r ^\r")
@example("p50k_base", "!\n\n/ /\n")
def test_any_long_text_is_at_least_bounded(name: str, text: str) -> None:
    text *= 300_000 // len(text) + 1

    count = TokenCounter(name).count_text(text)

    assert exact(name, text) <= count <= len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize(
    "line", ["0\r 0\r word", "字。\n", '{"id":1,"a b":[2]}', "- x\r\n", "!\n", "x/y\n/z\n"]
)
def test_long_texts_of_short_lines_are_counted_exactly(name: str, line: str) -> None:
    text = line * (300_000 // len(line))

    assert TokenCounter(name).count_text(text) == exact(name, text)


@settings(deadline=None)
@given(
    st.sampled_from(ENCODINGS),
    texts
    | st.lists(st.sampled_from([*"a1!/_ \r\n\t'字。", "\u3000", "e\u0301"]), max_size=30).map(
        "".join
    ),
)
@example("o200k_base", "!\n/ !\r/a")
@example("cl100k_base", "!\n\n a.\nb's c'll")
@example("p50k_base", "a\r\n  b\n\nc \n d")
def test_where_long_texts_are_cut_all_encodings_cut_them(name: str, text: str) -> None:
    for cut in pricing.text_parts.CUT.finditer(text):
        head, tail = text[: cut.start()], text[cut.start() :]
        assert exact(name, head) + exact(name, tail) == exact(name, text)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("unit", [" ", "\t", "a", "^", "字", "\ud800"])
def test_a_million_characters_without_a_word_are_bounded_by_their_bytes(
    name: str, unit: str
) -> None:
    text = unit * 1_000_000
    a_tenth = TokenCounter(name).count_text(unit * 100_000)

    count = TokenCounter(name).count_text(text)

    assert a_tenth * 9 <= count <= len(text.encode("utf-8", "surrogatepass"))


def test_a_text_is_encoded_once_however_often_it_is_counted(encoding: CountingEncoding) -> None:
    counter = TokenCounter()
    system = "You are a helpful colleague. " * 400
    for number in range(3_000):
        counter.count_messages(
            [{"role": "system", "content": system}, {"role": "user", "content": f"u{number}"}]
        )

    assert encoding.asked.count(system) == 1
    assert encoding.asked.count("system") == 1


def test_the_caches_are_bounded_in_number_and_hold_few_long_texts(
    encoding: CountingEncoding,
) -> None:
    counter = TokenCounter()
    for number in range(3_000):
        counter.count_text(f"short {number}")
        counter.count_text(f"long {number}" + "x" * 10_000)
        counter.count_messages([], {"title": str(number)})

    assert counter._count_short.cache_info().currsize == 1_024
    assert len(counter._long_counts) == 8
    assert len(counter._schema_counts) == 256


def test_messages_cost_what_openai_puts_round_them() -> None:
    counter = TokenCounter()
    text = counter.count_text

    assert counter.count_messages([]) == 3
    assert counter.count_messages(
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello!"}]
    ) == 3 + (3 + text("system") + text("Be kind.")) + (3 + text("user") + text("Hello!"))
    assert counter.count_messages([{"role": "user", "content": "Hi", "name": "Ann"}]) == 3 + (
        3 + text("user") + text("Hi") + text("Ann") + 1
    )


@given(st.integers(0, 300), st.lists(st.text(max_size=30), max_size=4))
@settings(deadline=None)
def test_the_margin_is_put_on_the_whole_request_and_rounded_up(
    margin_percent: int, contents: list[str]
) -> None:
    messages = [{"role": "user", "content": content} for content in contents]
    plain = TokenCounter().count_messages(messages)

    with_margin = TokenCounter(margin_percent=margin_percent).count_messages(messages)

    assert with_margin == ceil(plain * (100 + margin_percent) / 100)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"intent": {"type": "string", "enum": ["überweisung", "card_arrival"]}},
    "required": ["intent"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_schema_counts_at_least_as_its_json_however_it_is_spaced(
    separators: tuple[str, str],
) -> None:
    counter = TokenCounter()
    sent = json.dumps(SCHEMA, ensure_ascii=False, separators=separators)

    assert counter.count_messages([], SCHEMA) >= 3 + counter.count_text(sent)


def test_a_schema_is_serialized_once_and_an_equal_one_counts_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counter = TokenCounter()
    expected = counter.count_messages([], SCHEMA)
    assert counter.count_messages([], dict(SCHEMA)) == expected

    def refuse(*args: object, **kwargs: object) -> str:
        raise AssertionError("serialized again")

    monkeypatch.setattr(json, "dumps", refuse)

    assert counter.count_messages([], SCHEMA) == expected


def test_a_schemas_count_is_never_taken_for_another_ones() -> None:
    """Objects that are gone leave their addresses to new ones."""
    counter = TokenCounter()
    for size in range(400):
        schema = {"enum": ["word"] * size}
        expected = TokenCounter().count_messages([], schema)
        assert counter.count_messages([], schema) == expected


def test_the_overhead_of_a_forced_tool_call_comes_with_the_schema_alone_and_has_no_margin() -> None:
    plain = TokenCounter(margin_percent=50)
    forced = TokenCounter(margin_percent=50, schema_overhead_tokens=346)

    assert forced.count_messages([], SCHEMA) == plain.count_messages([], SCHEMA) + 346
    assert forced.count_messages([]) == plain.count_messages([])


@pytest.mark.parametrize(
    "arguments",
    [{"encoding": "gpt2"}, {"margin_percent": -1}, {"schema_overhead_tokens": -1}],
)
def test_odd_counters_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        TokenCounter(**arguments)


def test_an_unknown_encoding_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="found 'gpt2', allowed are o200k_base, cl100k_base"):
        load_encoding("gpt2")


def test_a_vocabulary_that_is_not_there_or_not_itself_is_said_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build = load_encoding.__wrapped__
    spec = ModuleSpec("litellm", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(pricing.tokens, "find_spec", lambda name: spec)
    with pytest.raises(VocabularyMissing, match=r"no vocabulary o200k_base: reinstall litellm"):
        build("o200k_base")

    folder = tmp_path / "litellm_core_utils" / "tokenizers"
    folder.mkdir(parents=True)
    (folder / "fb374d419588a4632f3f557e76b4b70aebbca790").write_bytes(b"IQ== 0\n")
    with pytest.raises(VocabularyMissing, match="damaged"):
        build("o200k_base")

    monkeypatch.setattr(pricing.tokens, "find_spec", lambda name: None)
    with pytest.raises(VocabularyMissing, match="no vocabulary"):
        build("o200k_base")


def test_counting_needs_no_network_no_litellm_and_no_environment_variable() -> None:
    code = """
import os, socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("tried to reach the network")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
before = dict(os.environ)
import pricing.text_parts
import pricing.tokens
assert "tiktoken" not in sys.modules, "imported before it was needed"
assert pricing.tokens.encoding_of("hosted_vllm/meta-llama/Llama-3.1-8B") == pricing.tokens.OTHER
for name in (*pricing.tokens.ENCODINGS, pricing.tokens.OTHER):
    counter = pricing.tokens.TokenCounter(name, schema_overhead_tokens=1)
    assert counter.count_messages([{"role": "user", "content": "hello world"}]) >= 9
    counter.warm_up()
    assert counter.count_text("hello world") == 2
    assert counter.count_text("\\ud800 ﷺ ①") > 2
    assert counter.count_messages([], {"enum": ["a", "b"]}) > 3
    assert counter.count_text("ab, " * 50_000) > 50_000
assert "litellm" not in sys.modules
assert dict(os.environ) == before
"""
    # No home, no cache folder, no proxies: only what finds the packages.
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}

    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
