"""Golden streams of every dialect that streams, as bytes and as the events that they are made of.

`golden/<dialect>/*.sse` and `*.ndjson` are bytes as they come. `*.frames` holds a JSON array [type, payload] a line,
which is sent as one frame of AWS's event stream.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from providers import dialects
from providers.dialects.base import StreamDecoder
from providers.errors import Unsupported
from providers.wire import Operation

GOLDEN = Path(__file__).parent / "golden"
SUFFIXES = (".sse", ".ndjson", ".frames")


@dataclass(frozen=True)
class Stream:
    """`pieces` are the bytes of one event each."""

    name: str
    suffix: str
    pieces: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def load(self, position: int) -> Any:
        """The JSON of an event; None if it holds none."""
        piece = self.pieces[position]
        if self.suffix == ".frames":
            return json.loads(piece[12 + struct.unpack_from(">I", piece, 4)[0] : -4])
        text = piece if self.suffix == ".ndjson" else b"".join(re.findall(rb"(?m)^data: ([^\r\n]*)", piece))
        try:
            return json.loads(text)
        except ValueError:
            return None

    def with_text(self, position: int, text: bytes) -> bytes:
        """The event with another JSON in it."""
        piece = self.pieces[position]
        if self.suffix == ".ndjson":
            return text + b"\n"
        if self.suffix == ".sse":
            return re.sub(rb"(?m)^data: [^\r\n]*", lambda _: b"data: " + text, piece, count=1)
        name = re.search(rb":event-type\x07..([A-Za-z]+)", piece, re.S)
        return frame(name.group(1).decode() if name else "", text)


@dataclass(frozen=True)
class Streaming:
    """A dialect and an operation whose answer it decodes as it comes."""

    dialect: str
    operation: Operation

    def __str__(self) -> str:
        return f"{self.dialect}-{self.operation}"

    def decoder(self) -> StreamDecoder:
        return dialects.get(self.dialect).decoder(self.operation)

    def streams(self) -> list[Stream]:
        """Its golden streams; those of a dialect with the very same decoder, where it has none of its own."""
        own = golden(self.dialect)
        if own:
            return own
        same = (other for other in streaming() if type(other.decoder()) is type(self.decoder()))
        return next(filter(None, (golden(other.dialect) for other in same)), [])


def streaming() -> Iterator[Streaming]:
    """All that streams, as the registry says."""
    for name in dialects.names():
        for operation in sorted(dialects.operations(name)):
            try:
                dialects.get(name).decoder(operation)
            except Unsupported:
                continue
            yield Streaming(name, operation)


def golden(dialect: str) -> list[Stream]:
    files = sorted(file for file in (GOLDEN / dialect).glob("*") if file.suffix in SUFFIXES)
    return [Stream(file.stem, file.suffix, _pieces(file.suffix, file.read_bytes())) for file in files]


def frame(name: str, data: Any, kind: str = "event") -> bytes:
    """One frame of AWS's event stream."""
    return raw_frame({":message-type": kind, f":{kind}-type": name, ":content-type": "application/json"}, data)


def raw_frame(named: Mapping[str, str], data: Any, more: bytes = b"") -> bytes:
    """A frame with these headers of text, and `more` as they are encoded; bytes are a payload as it is."""
    texts = [(name.encode(), value.encode()) for name, value in named.items()]
    headers = b"".join(bytes([len(n)]) + n + b"\x07" + struct.pack(">H", len(v)) + v for n, v in texts) + more
    payload = data if isinstance(data, bytes) else json.dumps(data).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def _pieces(suffix: str, data: bytes) -> tuple[bytes, ...]:
    if suffix == ".sse":
        return tuple(re.findall(rb"(?s).+?(?:\r?\n\r?\n|\Z)", data))
    lines = data.splitlines(keepends=True)
    return tuple(lines) if suffix == ".ndjson" else tuple(frame(*json.loads(line)) for line in lines)
