"""The bytes of a people file, as lines in UTF-8: unpacked and recoded on the way, never whole."""

from __future__ import annotations

import codecs
import io
import zlib
from typing import BinaryIO

MOST_EXPANSION = 200
"""The most times its size that a packed file may be; tables seldom reach 20, zeros 1,000."""

_FREE_BYTES = 16 * 1024 * 1024
"""Up to this size a packed file may be of any expansion."""
_FREE_IDLE_BYTES = 4 * 1024 * 1024
"""So much of a packed file may unpack to nothing."""
_BYTES_A_MEMBER = 1_024
_FREE_MEMBERS = 100
"""Each member of a .gz file takes time, whatever is in it."""

_CHUNK_BYTES = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS

_ENCODINGS = (
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii"),
    *(f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))),
    *(f"cp{page}" for page in range(1250, 1259)),
    *("cp437", "cp850", "cp852", "cp866", "koi8-r", "koi8-u", "mac-roman"),
    *("shift_jis", "cp932", "euc_jp", "gbk", "gb18030", "big5", "euc_kr", "cp949"),
)
_ALLOWED = {codecs.lookup(name).name: name for name in _ENCODINGS}
ALLOWED_ENCODINGS = (
    "utf-8, utf-16, iso-8859-1 (latin-1) to -16, windows-1250 to -1258, cp437, cp850, cp852, "
    "cp866, koi8-r, koi8-u, mac-roman, shift_jis, euc_jp, gbk, gb18030, big5, euc_kr"
)


def normal_encoding(name: str) -> str:
    """Return the name of an encoding as Python has it.

    Raises:
        ValueError: people files can't be in it; the message names those that are allowed.
    """
    try:
        found = codecs.lookup(name.strip()).name
    except (LookupError, ValueError):
        found = ""
    found = {"utf-8-sig": "utf-8"}.get(found, found)
    if found not in _ALLOWED:
        raise ValueError(f"found {name!r}, allowed are {ALLOWED_ENCODINGS}")
    return found


def open_stream(file: BinaryIO, *, is_packed: bool, encoding: str) -> BinaryIO:
    """Return the stream of a file's bytes, unpacked and in UTF-8.

    Reading it raises ``StreamError`` where the file is damaged or beyond its bounds.
    """
    stream = file
    if is_packed:
        stream = io.BufferedReader(_Unpacked(stream), _CHUNK_BYTES)
    if encoding != "utf-8":
        stream = io.BufferedReader(_Recoded(stream, encoding), _CHUNK_BYTES)
    return stream


class StreamError(Exception):
    """A file that can't be unpacked or decoded; the place is not known here."""


class PieceStream(io.RawIOBase):
    """A stream whose bytes are made from those of another, in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = b""
        self._error: StreamError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # always writable
        while not self._ready:
            if self._error is not None:
                raise self._error
            piece = self._next()
            if piece is None:
                return 0
            self._ready = piece
        taken, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _next(self) -> bytes | None:
        """Return the next piece, which may be empty; ``None`` at the end."""
        raise NotImplementedError


class _Unpacked(PieceStream):
    """The content of a .gz file, of one member or many."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._packed = b""
        self._read_bytes = 0
        self._made_bytes = 0
        self._members = 0
        self._is_padded = False
        self._unpacker: zlib._Decompress | None = None

    def _next(self) -> bytes | None:
        if not self._packed:
            self._packed = self._file.read(_CHUNK_BYTES)
            self._read_bytes += len(self._packed)
        if self._unpacker is None:
            if not self._packed and self._members:
                return None
            if self._members and not (rest := self._packed.lstrip(b"\0")):
                return self._pad()
            if self._members:
                self._packed = rest
            self._begin_member()
        return self._unpack()

    def _pad(self) -> bytes:
        """Pass over zeros at the end, with which tapes and some archives are filled up."""
        if self._is_padded:
            raise StreamError("goes on with zeros after the packed file")
        self._packed, self._is_padded = b"", True
        return b""

    def _begin_member(self) -> None:
        self._members += 1
        if self._members > _FREE_MEMBERS + self._made_bytes // _BYTES_A_MEMBER:
            raise StreamError("is made of too many packed parts; pack it as one")
        self._unpacker = zlib.decompressobj(_GZIP)

    def _unpack(self) -> bytes:
        unpacker = self._unpacker
        if unpacker is None:
            return b""
        if not self._packed:
            raise StreamError("is cut off: the packed file ends too early")
        try:
            made = unpacker.decompress(self._packed, _CHUNK_BYTES)
        except zlib.error:
            raise StreamError("is not valid gzip, or is damaged") from None
        self._packed = unpacker.unconsumed_tail
        if unpacker.eof:
            self._packed, self._unpacker = unpacker.unused_data, None
        self._made_bytes += len(made)
        if self._made_bytes > _FREE_BYTES + MOST_EXPANSION * self._read_bytes:
            raise StreamError(
                f"unpacks to more than {MOST_EXPANSION} times its size; unpack it yourself if you "
                "trust it"
            )
        if self._read_bytes > _FREE_IDLE_BYTES + 2 * self._made_bytes:
            raise StreamError("holds far less than its packed size; pack it again")
        return made


class _Recoded(PieceStream):
    """A text in another encoding, in UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        super().__init__()
        self._file = file
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._done_bytes = 0
        self._is_begun = False

    def _next(self) -> bytes | None:
        found = self._file.read1(_CHUNK_BYTES)  # type: ignore[attr-defined]  # all are buffered
        before = self._decoder.getstate()
        try:
            text = self._decode(found, final=not found)
        except UnicodeDecodeError as error:
            start = error.start - len(before[0])
            self._decoder.setstate(before)
            text = self._decode(found[: max(0, start)])
            self._error = StreamError(
                f"is not valid {self._encoding} at byte {self._done_bytes + start:,} of the text "
                f"(0x{error.object[error.start]:02x}); say with --encoding what it is in"
            )
        if not found and not text and self._error is None:
            return None
        self._done_bytes += len(found)
        if text and not self._is_begun:
            self._is_begun, text = True, text.removeprefix("\ufeff")
        return text.encode("utf-8", "surrogatepass")

    def _decode(self, found: bytes, *, final: bool = False) -> str:
        try:
            return self._decoder.decode(found, final)
        except UnicodeDecodeError:
            raise
        except UnicodeError:
            raise StreamError(
                "does not begin with UTF-16's mark of the byte order; say --encoding utf-16-le or "
                "utf-16-be"
            ) from None
