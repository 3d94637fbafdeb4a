"""Opens a recording, whichever of the two formats it has, packed (xz, zstd) or plain."""

import io
import lzma
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import zstandard
from databento_dbn import Metadata

from workers.replay import bitstamp, databento
from workers.replay.exchange_event import Record
from workers.replay.steps import Market, Step, Unreadable

CHUNK = 1 << 18
XZ = b"\xfd7zXZ\x00"
ZSTD = b"\x28\xb5\x2f\xfd"
DBN = b"DBN"


type Unpacker = lzma.LZMADecompressor | zstandard.ZstdDecompressionObj


class Recording:
    """A recorded order flow. ``steps()`` reads the file anew each time, so that it can be checked before it is fed."""

    def __init__(self, path: str, market: Market) -> None:
        self.path = path
        self.market = market
        self.skipped: Counter[str] = Counter()
        """Rows or records that were no step, by why; of the last reading."""

    @classmethod
    def open(cls, path: str) -> Self:
        """Look at the beginning of a file. Raises ``Unreadable`` if it is none of the formats."""
        start = next((chunk for chunk in _chunks(path) if chunk), b"")
        if not start:
            raise Unreadable(path, "", "the file is empty")
        if start.startswith(DBN):
            found = next(databento.records(path, _chunks(path)), None)
            if not isinstance(found, Metadata):
                raise Unreadable(path, "header", "the file ends within the DBN header")
            return cls(path, databento.market_of(path, found))
        line = start.partition(b"\n")[0].strip()
        if line != ",".join(bitstamp.HEADER).encode():
            shown = ascii(line[:60])[2:-1]
            raise Unreadable(
                path, "line 1", f'neither a Databento DBN file nor a Bitstamp CSV: it begins with "{shown}", '
                f'a Bitstamp CSV with "{",".join(bitstamp.HEADER)}"',
            )  # fmt: skip
        return cls(path, bitstamp.MARKET)

    def steps(self) -> Iterator[Step]:
        """Every step, in order. Raises ``Unreadable`` naming the file and the line or record."""
        if self.market.source == bitstamp.MARKET.source:
            flow = bitstamp.BitstampFlow()
            self.skipped = flow.skipped
            yield from flow.steps(self.path, _lines(self.path))
        else:
            orders = databento.DatabentoFlow()
            self.skipped = orders.skipped
            yield from orders.steps(self.path, self.records())

    def records(self) -> Iterator[Record]:
        """Every record of the exchange. Raises ``InvalidInput`` if the recording tells only what people did."""
        if self.market.source == bitstamp.MARKET.source:
            what = "a Bitstamp CSV tells of no fills, so there is nothing to compare with; give a Databento MBO file"
            raise Unreadable(self.path, "", what)
        found = databento.records(self.path, _chunks(self.path))
        return (record for record in found if not isinstance(record, Metadata))


def _chunks(path: str) -> Iterator[bytes]:
    """A file's content, unpacked. Raises ``Unreadable`` if it cannot be read or ends too early."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(XZ))
            file.seek(0)
            if head.startswith(XZ):
                yield from _unpacked(path, file, lzma.LZMADecompressor)
            elif head.startswith(ZSTD):
                yield from _unpacked(path, file, zstandard.ZstdDecompressor().decompressobj)
            else:
                while chunk := file.read(CHUNK):
                    yield chunk
    except OSError as error:
        raise Unreadable(path, "", error.strerror or str(error)) from error


def _unpacked(path: str, file: io.BufferedReader, start: Callable[[], Unpacker]) -> Iterator[bytes]:
    """The content of one packed stream after another."""
    packer, done = start(), 0
    try:
        while chunk := file.read(CHUNK):
            while chunk:
                if packer.eof:
                    packer = start()
                yield packer.decompress(chunk)
                done, chunk = file.tell(), packer.unused_data if packer.eof else b""
    except (lzma.LZMAError, zstandard.ZstdError) as error:
        raise Unreadable(path, f"after byte {done}", f"cannot be unpacked: {error}") from error
    if not packer.eof:
        raise Unreadable(path, f"after byte {done}", "the packed file is cut off")


def _lines(path: str) -> Iterator[str]:
    """A text file's lines, with their ends."""
    rest, count = b"", 0
    for chunk in _chunks(path):
        whole, end, tail = (rest + chunk).rpartition(b"\n")
        rest = tail
        if len(rest) > CHUNK:
            raise Unreadable(path, f"line {count + 1}", "is not a line of CSV")
        for line in (whole + end).splitlines(keepends=True):
            count += 1
            yield _text(path, count, line)
    if rest:  # without an end of line; if it is cut off, its last column tells
        yield _text(path, count + 1, rest)


def _text(path: str, number: int, line: bytes) -> str:
    if not line.isascii() or b"\0" in line:
        raise Unreadable(path, f"line {number}", "is not ASCII text")
    return line.decode("ascii")
