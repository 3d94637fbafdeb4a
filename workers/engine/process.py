"""The book as the runtime sees it: commands in as bytes, one log entry out for each."""

import msgspec

from shared import keys
from shared.errors import CorruptState
from shared.messages import BookEntry, decode_book_entry, decode_command, encode
from shared.settings import Settings
from workers.engine.core import order_book
from workers.engine.digest import digest
from workers.handler import Batch, BrokenSource
from workers.store import Entries


class EngineHandler:
    """Runs the book of ``symbol`` on the outboxes of all account shards."""

    def __init__(self, settings: Settings, symbol: str) -> None:
        self.symbol = symbol
        self.tag = keys.instrument_tag(symbol)
        self._order_book = order_book(settings.core)
        self.book = self._order_book()
        self._shards = settings.shards

    def sources(self) -> list[str]:
        """The outbox of each shard for this instrument."""
        return [keys.outbox(shard, self.symbol) for shard in range(self._shards)]

    def readers(self, stream: str) -> list[str]:
        """The log is read by every shard's ledger and written to PostgreSQL; the book owns no other stream."""
        assert stream == keys.log(self.tag)
        return [*(keys.shard_tag(shard) for shard in range(self._shards)), keys.POSTGRESQL]

    def handle(self, source: str, entries: Entries, batch: Batch) -> None:
        """One log entry per command. Raises ``CorruptState`` for a command that no ledger can have sent."""
        book, append, prefix = self.book, batch.log.append, source + " "
        apply, identifier = book.apply, b""
        try:
            for identifier, (_, payload) in entries:
                events = apply(decode_command(payload))
                append(encode(BookEntry(prefix + identifier.decode(), book.time, events)))
        except (msgspec.MsgspecError, CorruptState) as error:
            raise CorruptState(f"{self.symbol}: entry {identifier.decode()} of {source}: {error}") from error

    def set_aside(self, _broken: BrokenSource) -> bool:
        """Never: behind a command that was not carried out, no other of its shard may be."""
        return False

    def trouble(self) -> str:
        """None: a book that cannot go on ends."""
        return ""

    def tick(self, batch: Batch) -> None:
        """A book has no clock: what expires, it learns from a ledger's ``Tick``."""

    def fold(self, payload: bytes) -> None:
        """Follow one entry of the own log."""
        self.book.fold_entry(decode_book_entry(payload))

    def dump(self) -> bytes:
        """The book as bytes."""
        return self.book.dump()

    def load(self, state: bytes) -> None:
        """Replace the book by a dumped one."""
        self.book = self._order_book.load(state)

    def reset(self) -> None:
        """Start over with an empty book."""
        self.book = self._order_book()

    def digest(self) -> str:
        """See digest.py."""
        return digest(self.book)

    def sequence(self) -> int:
        """The last public sequence number."""
        return self.book.sequence
