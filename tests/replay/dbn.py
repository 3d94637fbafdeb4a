"""Writes small Databento recordings, record by record."""

from pathlib import Path

import zstandard
from databento_dbn import Action, MBOMsg, Metadata, Schema, Side, SType

from workers.replay.exchange_event import LAST, Record

UNIT = 10**9
"""Rows give prices as whole numbers of the currency."""


def metadata(schema: str = "mbo", symbols: tuple[str, ...] = ("ESH4",)) -> Metadata:
    """A header."""
    return Metadata(
        dataset="GLBX.MDP3", start=1, stype_in=SType("raw_symbol"), stype_out=SType("instrument_id"),
        schema=Schema(schema), symbols=list(symbols),
    )  # fmt: skip


def message(record: Record) -> bytes:
    """A record as DBN."""
    return bytes(
        MBOMsg(
            1, 1, record.time, record.order, record.price, record.size, Action(record.action), Side(record.side),
            record.time, record.flags,
        )
    )  # fmt: skip


def write(folder: Path, *rows: tuple, pack: bool = True) -> str:
    """A file of rows (action, side, price, size, order[, flags]); without flags an event ends there."""
    records = [
        Record(row[0], row[1], row[2] * UNIT, row[3], row[4], number, row[5] if len(row) > 5 else LAST)
        for number, row in enumerate(rows, start=1)
    ]
    return write_records(folder, records, pack=pack)


def write_records(folder: Path, records: list[Record], *, pack: bool = True) -> str:
    """A file of records."""
    content = metadata().encode() + b"".join(message(record) for record in records)
    path = folder / "recording.dbn"
    path.write_bytes(zstandard.compress(content) if pack else content)
    return str(path)
