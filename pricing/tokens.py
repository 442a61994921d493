"""Counting tokens offline: exact for OpenAI's encodings, an upper bound for all other models."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pricing.errors import CreditgateError
from pricing.text_parts import SEGMENT_CHARS, bytes_of, composed, segments

if TYPE_CHECKING:
    from tiktoken import Encoding

TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
REPLY_PRIMING_TOKENS = 3
"""Tokens that OpenAI adds around each message, for a name, and once for the start of the answer.

Source: https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
"""

_SCHEMA_WRAPPER_TOKENS = 32
"""Room for the text around a schema as the model reads it: heading, name, line breaks.

OpenAI puts ``# Response Formats``, a line with ``## name`` and the compact JSON into the system
message, see https://cookbook.openai.com/articles/openai-harmony ("Structured output"). That is
8 tokens and the name.
"""

SHORT_TEXT_CHARS = 8_000
"""Up to here a text is short: counting it takes 10 ms of CPU at most, whatever it holds."""

_SHORT_TEXTS_KEPT = 1_024
_LONG_TEXTS_KEPT = 8
_SCHEMAS_KEPT = 256
"""The caches of one counter keep about 8 MB of text together, 32 MB at the very most."""


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """An encoding's merge ranks, as LiteLLM bundles them, and its pattern for splitting text."""

    url_sha1: str
    sha256: str
    pattern: str


# Patterns, addresses (as their SHA-1, which is how tiktoken names cached files) and hashes are
# those of tiktoken's own definitions in tiktoken_ext/openai_public.py; a test compares them.
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
"""The encodings that can be counted exactly: OpenAI's."""

OTHER = "other"
"""Any other tokenizer: its tokens are bounded from above, with ``OTHER_MARGIN_PERCENT``."""

OTHER_MARGIN_PERCENT = 75
EXACT_MARGIN_PERCENT = 10
"""The default margins; docs/tokens.md has the measurements.

Counts of texts are exact for OpenAI's models; their margin is for what may be added unseen.
"""

CLAUDE_SCHEMA_OVERHEAD_TOKENS = 850
"""Room for the instructions that Claude gets with a forced tool: 804 tokens with Opus 4.7, 315 to
589 with most others (Anthropic's tool use page, "Pricing"). The structured outputs of newer models
take fewer.
"""

_OTHER_TEMPLATE_TOKENS = 32
"""Room for text in other models' own templates: Llama 3.1's has two dates."""

_CAUTIOUS_ENCODING = "p50k_base"
_PACKED = re.compile(r" ?(?:(.{1,4}?)\1+|[0-9]+|[^\w\x00-\x7f]+)", re.DOTALL)
_CAPITALS = re.compile(r" ?[A-Z]{2,}")


class VocabularyMissing(CreditgateError):
    """The installed litellm package lacks a tokenizer's vocabulary, or has a damaged one."""


@cache
def load_encoding(name: str) -> Encoding:
    """Return an encoding, built once in a process from the files that LiteLLM bundles.

    It has no special tokens: all text is plain text. The first call takes half a second. No
    network and no environment variable is used, and litellm is not imported.

    Raises:
        ValueError: the name is not one of ``ENCODINGS``.
        VocabularyMissing: the file is missing or damaged.
    """
    if name not in _VOCABULARIES:
        raise ValueError(f"encoding: found {name!r}, allowed are {', '.join(ENCODINGS)}")
    vocabulary = _VOCABULARIES[name]
    # Imported late: it takes 30 ms, which commands that count nothing should not pay.
    from tiktoken import Encoding

    return Encoding(
        name, pat_str=vocabulary.pattern, mergeable_ranks=_load_ranks(name), special_tokens={}
    )


def _load_ranks(name: str) -> dict[bytes, int]:
    lines = _read(name, _VOCABULARIES[name]).splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}


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
    raise VocabularyMissing(f"the installed litellm has no vocabulary {name}: reinstall litellm")


def encoding_of(model: str) -> str:
    """Return tiktoken's encoding for a model's name, or ``OTHER``.

    A provider in front of the name, as in ``openai/gpt-4.1``, is ignored.
    """
    from tiktoken.model import encoding_name_for_model

    try:
        name = encoding_name_for_model(model.rpartition("/")[2])
    except KeyError:
        return OTHER
    return name if name in _VOCABULARIES else OTHER


class TokenCounter:
    """Counts the tokens of texts and requests, each distinct text once.

    Args:
        encoding: one of ``ENCODINGS``, or ``OTHER`` for models with another tokenizer.
        margin_percent: added to the tokens of a whole request.
        schema_overhead_tokens: added to requests with a schema, for providers that turn it into a
            forced tool call with instructions of their own; see
            ``CLAUDE_SCHEMA_OVERHEAD_TOKENS``.

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
        if encoding not in (*ENCODINGS, OTHER):
            allowed = ", ".join((*ENCODINGS, OTHER))
            raise ValueError(f"encoding: found {encoding!r}, allowed are {allowed}")
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
        self._long_counts: _Kept[str, int] = _Kept(_LONG_TEXTS_KEPT)
        self._schema_counts: _Kept[int, _SchemaCount] = _Kept(_SCHEMAS_KEPT)

    def count_text(self, text: str) -> int:
        """Return the tokens of a text; special tokens are counted as plain text.

        Exact for OpenAI's encodings, except for runs of more than 64,000 characters without the end
        of a word, which count as one token per byte, an upper bound. For ``OTHER``, an upper
        bound without its margin. It may be called in several threads at once.
        """
        known = self.count_text_at_once(text)
        if known is None:
            known = self._count(text)
            self._long_counts.keep(text, known)
        return known

    def count_text_at_once(self, text: str) -> int | None:
        """Return the same if the text is short or was counted lately, else ``None``."""
        if len(text) <= SHORT_TEXT_CHARS:
            return self._count_short(text)
        return self._long_counts.get(text)

    def count_messages_at_once(
        self,
        messages: Sequence[Mapping[str, str]],
        response_schema: Mapping[str, Any] | None = None,
    ) -> int | None:
        """Return what ``count_messages`` does, or ``None`` where that would take long.

        Counting a million characters takes 40 to 800 ms of CPU: an event loop leaves it to a
        thread. Short texts, and long ones that were counted lately, take little.
        """
        try:
            return self._sum(messages, response_schema, self._at_once)
        except _TakesLong:
            return None

    def count_messages(
        self,
        messages: Sequence[Mapping[str, str]],
        response_schema: Mapping[str, Any] | None = None,
    ) -> int:
        """Return an upper bound of the input tokens that a request is billed for.

        The count of messages, with what OpenAI adds around them, is exact for OpenAI's models. The
        schema is counted as the JSON that is sent, with some room for its heading: providers show
        models the same names, options and descriptions in the same or a shorter layout. The
        margin is added to all of it, rounded up; the schema's overhead is the provider's own
        figure and gets no margin. Do not change the schema afterwards: its count is cached by
        identity.
        """
        return self._sum(messages, response_schema, self.count_text)

    def _sum(
        self,
        messages: Sequence[Mapping[str, str]],
        response_schema: Mapping[str, Any] | None,
        count_text: Callable[[str], int],
    ) -> int:
        tokens = REPLY_PRIMING_TOKENS
        if self._encoding == OTHER:
            tokens += _OTHER_TEMPLATE_TOKENS
        for message in messages:
            tokens += TOKENS_PER_MESSAGE
            for key, text in message.items():
                tokens += count_text(text)
                if key == "name":
                    tokens += TOKENS_PER_NAME
        overhead = 0
        if response_schema is not None:
            tokens += self._count_schema(response_schema, count_text)
            overhead = self._schema_overhead_tokens
        return -(-tokens * (100 + self._margin_percent) // 100) + overhead

    def warm_up(self) -> None:
        """Load the encoding now, so that the first count does not take half a second."""
        self.count_text("warm")

    def _at_once(self, text: str) -> int:
        if len(text) <= SHORT_TEXT_CHARS:
            return self._count_short(text)
        known = self._long_counts.get(text)
        if known is None:
            raise _TakesLong
        return known

    def _count_schema(self, schema: Mapping[str, Any], count_text: Callable[[str], int]) -> int:
        found = self._schema_counts.get(id(schema))
        if found is not None:
            return found.tokens
        layouts = {
            json.dumps(schema, ensure_ascii=False, separators=separators)
            for separators in ((",", ":"), (", ", ": "))
        }
        tokens = max(count_text(layout) for layout in layouts) + _SCHEMA_WRAPPER_TOKENS
        self._schema_counts.keep(id(schema), _SchemaCount(schema, tokens))
        return tokens

    def _count(self, text: str) -> int:
        if len(text) <= 2 * SEGMENT_CHARS:
            return self._count_segment(text)
        return sum(
            self._count_segment(segment)
            if len(segment) <= 2 * SEGMENT_CHARS
            else self._bound_run(segment)
            for segment in segments(text)
        )

    def _bound_run(self, text: str) -> int:
        """Return the bytes of a text that can't be cut; no tokenizer needs more."""
        if self._encoding != OTHER:
            return bytes_of(text)
        starts = range(0, len(text), SEGMENT_CHARS)
        parts = [text[start : start + SEGMENT_CHARS] for start in starts]
        return sum(max(bytes_of(part), bytes_of(composed(part))) for part in parts)

    def _count_segment(self, text: str) -> int:
        if self._encoding != OTHER:
            return len(load_encoding(self._encoding).encode_ordinary(text))
        bound = _weigh(text)
        # Some tokenizers, such as the one that Claude publishes, normalize first: a single Arabic
        # ligature becomes 18 letters.
        normal = composed(text)
        if len(normal) > 2 * len(text):
            return max(bound, bytes_of(normal))  # no tokenizer needs more, and this is quick
        return bound if normal == text else max(bound, _weigh(normal))


def _weigh(text: str) -> int:
    """Return the most tokens that another tokenizer may need for a text, without margin.

    GPT-3's vocabulary is small and mostly of English and code; newer vocabularies have more
    languages and need fewer tokens. Text that it packs more tightly than others counts more:
    numbers (Gemini, Mistral and Qwen use a token for each digit), repetitions, signs beyond ASCII,
    and capitals.
    """
    weights = _weights()
    return sum(
        [weights[token] for token in load_encoding(_CAUTIOUS_ENCODING).encode_ordinary(text)]
    )


@cache
def _weights() -> dict[int, int]:
    return {rank: _weight(token) for token, rank in _load_ranks(_CAUTIOUS_ENCODING).items()}


def _weight(token: bytes) -> int:
    try:
        text = token.decode()
    except UnicodeDecodeError:
        return 1
    if _PACKED.fullmatch(text):
        return len(token)
    return -(-len(token) // 2) if _CAPITALS.fullmatch(text) else 1


class _TakesLong(Exception):
    """A text is long and was not counted lately."""


_Key = TypeVar("_Key", bound=Hashable)
_Count = TypeVar("_Count")


class _Kept(Generic[_Key, _Count]):
    """The counts that were asked for last, for several threads at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[_Key, _Count] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._counts)

    def get(self, key: _Key) -> _Count | None:
        with self._lock:
            count = self._counts.pop(key, None)
            if count is not None:
                self._counts[key] = count
            return count

    def keep(self, key: _Key, count: _Count) -> None:
        with self._lock:
            self._counts.pop(key, None)
            self._counts[key] = count
            if len(self._counts) > self._most:
                del self._counts[next(iter(self._counts))]


@dataclass(frozen=True, slots=True)
class _SchemaCount:
    """The tokens of a schema, which is kept alive so that its id stays its own."""

    schema: Mapping[str, Any]
    tokens: int
