"""How messages become bytes and back."""

import msgspec

from shared.messages.book_events import BookEntry
from shared.messages.commands import Command
from shared.messages.ledger_events import LedgerEntry
from shared.messages.requests import Request

FIELD = b"d"
"""The one field of every stream entry: the JSON of a request, a command or a log entry."""

encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(Request).decode
decode_command = msgspec.json.Decoder(Command).decode
decode_book_entry = msgspec.json.Decoder(BookEntry).decode
decode_ledger_entry = msgspec.json.Decoder(LedgerEntry).decode
