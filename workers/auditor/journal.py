"""All that a finding follows from, in one file: whoever has it can find it again, with no server and no other file.

Of each machine concerned: a snapshot from before, the entries of its log since, and what its owner told of its state.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import zstandard

from shared.errors import InvalidInput
from workers.auditor.places import symbol_of
from workers.auditor.watch import Finding, Start, Watch, load
from workers.store import Snapshot, Standing

FOLDER = "halts"
FORMAT = 1
MEANWHILE = 500
"""Steps between two calls of ``meanwhile``."""


class Recording(msgspec.Struct, kw_only=True):
    """One machine: where its log begins (``None``: at its first entry), the entries (id, payload), where it stood.

    ``digests``: what its owner told, by length of its log. ``snapshots``: the owner's that are to be compared.
    """

    tag: str
    standing: Standing
    start: Snapshot | None
    entries: list[tuple[bytes, bytes]]
    digests: list[tuple[int, str]] = []
    snapshots: list[Snapshot] = []


class Journal(msgspec.Struct, kw_only=True):
    """A finding, and the recordings of the machines from which it follows. ``time`` in ns; ``left_out``: books."""

    format: int = FORMAT
    time: int
    shards: int
    finding: Finding
    recordings: list[Recording]
    left_out: list[str] = []

    @property
    def entries(self) -> int:
        """How many entries it has."""
        return sum(len(one.entries) for one in self.recordings)


def find_again(journal: Journal, core: str, meanwhile: Callable[[], object] = lambda: None) -> list[Finding]:
    """What is wrong in the journal's logs and states; ``meanwhile`` is called now and then.

    Raises ``CorruptState`` if a snapshot in it is none.
    """
    snapshots = {(one.tag, found.position): found for one in journal.recordings for found in one.snapshots}
    watch = Watch(journal.shards, core, lambda tag, position: snapshots.get((tag, position)))
    for one in journal.recordings:
        start = load(one.tag, one.start, core) if one.start is not None else Start()
        watch.add(one.tag, iter(one.entries), start)
    for symbol in journal.left_out:
        watch.leave_out(symbol)
    watch.cut({one.tag: one.standing for one in journal.recordings}, {})
    for one in journal.recordings:
        begin = one.start.position if one.start is not None else 0
        for position, digest in one.digests:
            if begin < position <= one.standing.length:
                watch.expect_digest(one.tag, position, digest)
        for found in one.snapshots:
            if begin < found.position <= one.standing.length:
                watch.expect_snapshot(one.tag, found.position)
    for count, _ in enumerate(watch.follow()):
        if count % MEANWHILE == 0:
            meanwhile()
    if not watch.findings.violations:
        watch.end()
    return watch.take()


def is_the_same(one: Finding, others: Iterable[Finding]) -> bool:
    """Whether it is among others: the same invariant at the same place."""
    return any(
        (one.violation.invariant, one.violation.where) == (other.violation.invariant, other.violation.where)
        for other in others
    )


def file_name(finding: Finding) -> str:
    """``BTC-USD-1204.journal``, ``ledger-0-77.journal``."""
    name = symbol_of(finding.tag) or "ledger-" + finding.tag.strip("{}").partition(":")[2]
    return f"{name}-{finding.position}.journal"


def write(folder: Path, journal: Journal) -> Path:
    """Write it, readable by its owner only, and answer where. Raises ``OSError``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / file_name(journal.finding)
    draft = path.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_bytes(zstandard.compress(msgspec.msgpack.encode(journal)))
    draft.replace(path)
    return path


def read(path: Path) -> Journal:
    """A journal that was written. Raises ``InvalidInput``."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    try:
        content = zstandard.decompress(packed)
        journal = msgspec.msgpack.decode(content, type=Journal)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise InvalidInput(f"{path}: is no journal of the auditor ({error})") from error
    if journal.format != FORMAT:
        raise InvalidInput(f"{path}: has format {journal.format}, this program reads {FORMAT}: use its program")
    return journal
