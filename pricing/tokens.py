"""Counting tokens offline: exact for OpenAI's encodings, an upper bound for whole requests."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiktoken import Encoding

TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
REPLY_PRIMING_TOKENS = 3
"""What OpenAI adds round each message, for a name, and once for the answer's beginning.

Source: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
"""

_SCHEMA_WRAPPER_TOKENS = 32
"""Room for what surrounds a schema where the model reads it: heading, name, line breaks.

OpenAI puts ``# Response Formats``, a line with ``## name`` and the compact JSON into the system
message, see https://cookbook.openai.com/articles/openai-harmony ("Structured output"). That is
8 tokens and the name.
"""

_SHORT_TEXT_CHARS = 8_000
_SHORT_TEXTS_KEPT = 1_024
_LONG_TEXTS_KEPT = 8
_SCHEMAS_KEPT = 256
"""Together the caches of one counter keep some 8 MB of text, and 32 MB at the very worst."""

_SEGMENT_CHARS = 64_000
_WORD_START = re.compile(r"(?<=\S) ")


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """An encoding's merge ranks, as LiteLLM bundles them, and its way to split text."""

    url_sha1: str
    sha256: str
    pattern: str


# Patterns, addresses (here their SHA-1, which is how tiktoken names cached files) and hashes are
# those of tiktoken's own definitions, tiktoken_ext/openai_public.py; a test compares them.
_VOCABULARIES: Mapping[str, _Vocabulary] = {
    "o200k_base": _Vocabulary(
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    "cl100k_base": _Vocabulary(
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    ),
    "p50k_base": _Vocabulary(
        "ec7223a39ce59f226a68acc30dc1af2788490e15",
        "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    ),
}

ENCODINGS: tuple[str, ...] = tuple(_VOCABULARIES)
"""The encodings that can be counted."""


class VocabularyMissing(RuntimeError):
    """The installed litellm package does not hold the vocabulary that it should."""


@cache
def load_encoding(name: str) -> Encoding:
    """Return an encoding, built once in a process from the files that LiteLLM bundles.

    It knows no special tokens, so all text is plain text to it. The first call takes half a
    second. Neither the network nor an environment variable is used, nor is litellm imported.

    Raises:
        ValueError: the name is not one of ``ENCODINGS``.
        VocabularyMissing: the file is not there, or is not the one that is expected.
    """
    if name not in _VOCABULARIES:
        raise ValueError(f"encoding: found {name!r}, allowed are {', '.join(ENCODINGS)}")
    vocabulary = _VOCABULARIES[name]
    # Commands that count nothing should not pay the 30 ms that this import takes.
    from tiktoken import Encoding

    ranks = {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in _read(name, vocabulary).splitlines() if line)
    }
    return Encoding(name, pat_str=vocabulary.pattern, mergeable_ranks=ranks, special_tokens={})


def _read(name: str, vocabulary: _Vocabulary) -> bytes:
    spec = find_spec("litellm")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        path = Path(folder, "litellm_core_utils", "tokenizers", vocabulary.url_sha1)
        if path.is_file():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == vocabulary.sha256:
                return content
            raise VocabularyMissing(
                f"the vocabulary {name} in {path} is damaged: reinstall litellm"
            )
    raise VocabularyMissing(f"no vocabulary {name} in the installed litellm: reinstall litellm")


class TokenCounter:
    """Counts the tokens of texts and requests, each distinct text once.

    Args:
        encoding: one of ``ENCODINGS``.
        margin_percent: added to requests where the model's own tokenizer is another one.
        schema_overhead_tokens: added to requests with a schema where the provider turns it into
            a forced tool call with instructions of its own (Anthropic documents some 350).

    Raises:
        ValueError: an unknown encoding, a negative margin or overhead.
    """

    def __init__(
        self,
        encoding: str = "o200k_base",
        margin_percent: int = 0,
        *,
        schema_overhead_tokens: int = 0,
    ) -> None:
        if encoding not in _VOCABULARIES:
            raise ValueError(f"encoding: found {encoding!r}, allowed are {', '.join(ENCODINGS)}")
        if margin_percent < 0:
            raise ValueError(f"margin_percent must not be negative, got {margin_percent}")
        if schema_overhead_tokens < 0:
            raise ValueError(
                f"schema_overhead_tokens must not be negative: {schema_overhead_tokens}"
            )
        self._encoding = encoding
        self._margin_percent = margin_percent
        self._schema_overhead_tokens = schema_overhead_tokens
        self._count_short = lru_cache(maxsize=_SHORT_TEXTS_KEPT)(self._count)
        self._count_long = lru_cache(maxsize=_LONG_TEXTS_KEPT)(self._count)
        self._count_schema = lru_cache(maxsize=_SCHEMAS_KEPT)(self._count_schema_once)

    def count_text(self, text: str) -> int:
        """Return the tokens of a text; what looks like a special token is plain text.

        Exact, but for runs of more than 64,000 characters without a space after a word: they
        count as many tokens as they have bytes, which no tokenizer of bytes exceeds.
        """
        if len(text) <= _SHORT_TEXT_CHARS:
            return self._count_short(text)
        return self._count_long(text)

    def count_messages(
        self,
        messages: Sequence[Mapping[str, str]],
        response_schema: Mapping[str, Any] | None = None,
    ) -> int:
        """Return an upper bound of the input tokens that a request is billed for.

        Messages and what OpenAI puts round them are exact for OpenAI's models. The schema is
        counted as the JSON that is sent and some room for its heading: providers show models
        the same names, options and descriptions in a layout that is shorter or the same. The
        margin is put on all of it and rounded up. The schema must not change afterwards: it is
        known again by identity.
        """
        tokens = REPLY_PRIMING_TOKENS
        for message in messages:
            tokens += TOKENS_PER_MESSAGE
            for key, text in message.items():
                tokens += self.count_text(text)
                if key == "name":
                    tokens += TOKENS_PER_NAME
        if response_schema is not None:
            tokens += self._count_schema(_SameObject(response_schema))
        return -(-tokens * (100 + self._margin_percent) // 100)

    def warm_up(self) -> None:
        """Load the encoding now, so that the first count does not take half a second."""
        self.count_text("warm")

    def _count_schema_once(self, schema: _SameObject) -> int:
        layouts = {
            json.dumps(schema.value, ensure_ascii=False, separators=separators)
            for separators in ((",", ":"), (", ", ": "))
        }
        longest = max(self.count_text(layout) for layout in layouts)
        return longest + _SCHEMA_WRAPPER_TOKENS + self._schema_overhead_tokens

    def _count(self, text: str) -> int:
        encoding = load_encoding(self._encoding)
        if len(text) <= 2 * _SEGMENT_CHARS:
            return len(encoding.encode_ordinary(text))
        return sum(
            len(encoding.encode_ordinary(segment))
            if len(segment) <= 2 * _SEGMENT_CHARS
            else len(segment.encode("utf-8", "surrogatepass"))
            for segment in _segments(text)
        )


class _SameObject:
    """A key that is equal to itself alone, and keeps its object alive, so that ids stay unique."""

    __slots__ = ("value",)

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameObject) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _segments(text: str) -> Iterable[str]:
    """Cut a long text where all the encodings cut it anyway, so that the counts add up.

    tiktoken's matcher runs out of stack on some texts of a million characters, and its panic is
    no ``Exception`` (openai/tiktoken issues 15 and 245). In none of the patterns can a space
    follow a character that is no white space within one match, nor does a match look back.
    """
    start = 0
    while start < len(text):
        cut = _WORD_START.search(text, start + _SEGMENT_CHARS)
        end = cut.start() if cut else len(text)
        yield text[start:end]
        start = end
