"""Brings one book's rows and the ledgers together, where PostgreSQL is further in the log of one than of the other.

The rules, in this order:

1. A trade that a ledger has settled took place: it is added to the book, and what it took is off the book.
2. A trade of the book that a ledger has not settled is settled now, as the ledger itself would have. If an order of
   it is in no ledger's rows, nobody can be charged for it: the trade is busted, no money moves for either side.
3. An order that is not on the book any more, or not yet, is closed, and its hold released. So what was accepted and
   had not reached its book is canceled.
4. An order that is on the book has the price and size that it has there; what that leaves too large a hold is
   released. So an amend that the book had not done is dropped. If its hold does not suffice, it is canceled.
5. What rests or waits on the book without an open order in its ledger is taken off. An order that (4) or (5) ends
   takes the others of its list with it, and legs whose parent is gone end, too.

All of it are events of the two machines, which go onto their logs, so that PostgreSQL follows.
"""

import msgspec

from shared.errors import CorruptState
from shared.messages import BookEntry, BookEvent, Change, Done, DoneReason, LedgerEntry, Match
from shared.order_id import shard_of_order
from workers.ledger.holds import still_needed
from workers.ledger.ledger import Ledger
from workers.ledger.orders import AskedAmend, OpenOrder
from workers.recovery.rows import BookRows, FillRow, RestingRow, TradeRow, WaitingRow

BookRow = RestingRow | WaitingRow


class CannotSettle(Exception):
    """A trade contradicts what the ledger has of its orders."""

    def __init__(self, trade_id: int) -> None:
        super().__init__(trade_id)
        self.trade_id = trade_id


def left_of(row: BookRow) -> int:
    """Lots of an order that are not filled, shown or not."""
    return row.remaining + row.hidden if isinstance(row, RestingRow) else row.quantity


class Meeting:
    """One book and all ledgers. ``busted``: trades that cannot be settled; ``now``: stamps what the ledgers do (ns)."""

    def __init__(self, rows: BookRows, ledgers: dict[int, Ledger], now: int, busted: set[int]) -> None:
        self.rows = rows
        self.ledgers = ledgers
        self.busted = set(busted)
        self.settled = 0
        """Sides of trades that were settled."""
        self.ended: set[int] = set()
        """Orders that were closed without being filled."""
        self.events: list[BookEvent] = []
        self.entries: dict[int, list[LedgerEntry]] = {shard: [] for shard in ledgers}
        self._symbol = rows.instrument.symbol
        self._source = f"recover {self._symbol}"
        self._now = now
        self._busted_before = busted
        self._sequence, self._trade_id, self._last_price = rows.sequence, rows.trade_id, rows.last_price
        self._on_book: dict[int, BookRow] = {row.order_id: msgspec.structs.replace(row) for row in rows.resting}
        self._on_book |= {row.order_id: row for row in rows.waiting}
        self._gone: dict[int, BookRow] = {}
        self._shrunk: set[int] = set()
        self._coming: dict[int, list[TradeRow]] = {}  # order -> its trades that are still to be settled

    def hold(self) -> BookRows:
        """Do it, and answer the book's rows as they have to be."""
        self._add_trades()
        self._settle_trades()
        self._match_orders()
        self._drop_strangers()
        self._tell_book()
        is_on_book = self._on_book.get
        return msgspec.structs.replace(
            self.rows, sequence=self._sequence, trade_id=self._trade_id, last_price=self._last_price,
            resting=[row for one in self.rows.resting if isinstance(row := is_on_book(one.order_id), RestingRow)],
            waiting=[row for one in self.rows.waiting if isinstance(row := is_on_book(one.order_id), WaitingRow)],
        )  # fmt: skip

    # --- 1: trades that only the ledgers know ---

    def _add_trades(self) -> None:
        by_trade: dict[int, list[FillRow]] = {}
        for fill in self.rows.ahead:
            by_trade.setdefault(fill.trade_id, []).append(fill)
            self._take(fill.order_id, fill.quantity)
        for trade_id in sorted(by_trade):
            self._add_trade(trade_id, by_trade[trade_id])

    def _add_trade(self, trade_id: int, sides: list[FillRow]) -> None:
        """Where both rested (an auction), the seller counts as the maker. A side that is not known is 0."""
        ranked = sorted(sides, key=lambda one: (one.liquidity != "M", one.side != "sell"))
        maker, taker = (*ranked, None)[:2]
        assert maker is not None
        if len(ranked) == 1 and maker.liquidity == "T":
            maker, taker = None, maker
        known = ranked[0]
        side = known.side if maker is not None else "sell" if known.side == "buy" else "buy"
        self.events.append(
            Match(
                self._next(), trade_id, maker.order_id if maker else 0, taker.order_id if taker else 0,
                maker.account if maker else 0, taker.account if taker else 0, side, known.price, known.quantity,
            )
        )  # fmt: skip
        self._trade_id, self._last_price = trade_id, known.price

    def _take(self, order_id: int, quantity: int) -> None:
        row = self._on_book.get(order_id)
        if row is None:
            return
        left = left_of(row) - quantity
        if not isinstance(row, RestingRow) or left <= 0:
            self._gone[order_id] = self._on_book.pop(order_id)
            return
        row.remaining = min(row.remaining, left)
        row.hidden = left - row.remaining
        self._shrunk.add(order_id)

    # --- 2: trades that a ledger has not settled ---

    def _settle_trades(self) -> None:
        due = [(trade, shards) for trade in self.rows.trades if (shards := self._unsettled(trade))]
        for trade, shards in due:
            for order_id in (trade.maker_order_id, trade.taker_order_id):
                if shard_of_order(order_id) in shards:
                    self._coming.setdefault(order_id, []).append(trade)
        for trade, shards in due:
            self._settle_trade(trade, shards)
        self._coming.clear()

    def _unsettled(self, trade: TradeRow) -> list[int]:
        """The shards that have not settled it."""
        shards = {shard_of_order(trade.maker_order_id), shard_of_order(trade.taker_order_id)}
        return sorted(one for one in shards if trade.trade_id > self.rows.settled.get(one, 0))

    def _settle_trade(self, trade: TradeRow, shards: list[int]) -> None:
        maker, taker = self._order(trade.maker_order_id), self._order(trade.taker_order_id)
        sides = ((trade.maker_order_id, maker), (trade.taker_order_id, taker))
        unknown = any(order is None for order_id, order in sides if shard_of_order(order_id) in shards)
        if unknown or trade.trade_id in self._busted_before:
            self.busted.add(trade.trade_id)
            return
        match = Match(
            trade.sequence, trade.trade_id, trade.maker_order_id, trade.taker_order_id,
            maker.account if maker else shard_of_order(trade.maker_order_id),
            taker.account if taker else shard_of_order(trade.taker_order_id), trade.side, trade.price, trade.quantity,
        )  # fmt: skip
        try:
            for order_id, order in sides:
                if order is not None and shard_of_order(order_id) in shards:
                    self._make_room(order)
                    self.settled += 1
            for shard in shards:
                self._settle(shard, match)
        except (CorruptState, AssertionError) as error:  # the accounts assert that nothing becomes negative
            raise CannotSettle(trade.trade_id) from error

    def _make_room(self, order: OpenOrder) -> None:
        """Before the first of its trades: an amend that the book has done, and the ledger does not know of."""
        trades = self._coming.pop(order.order_id, [])
        if not trades or not order.quantity:
            return
        row = self._on_book.get(order.order_id)
        total = order.filled + sum(one.quantity for one in trades) + (left_of(row) if row else 0)
        prices = [one.price for one in trades] + ([row.price] if row else [])
        worst = max(prices) if order.side == "buy" else min(prices)
        is_worse = worst > order.price if order.side == "buy" else worst < order.price
        if (order.price and is_worse) or total > order.quantity:
            self._amend(order, worst if order.price and is_worse else order.price, max(total, order.quantity))

    # --- 3 and 4: orders that are open in a ledger ---

    def _match_orders(self) -> None:
        for shard, ledger in self.ledgers.items():
            for order in [one for one in ledger.orders if one.instrument == self._symbol]:
                row = self._on_book.get(order.order_id)
                if row is None:
                    self._close(shard, order)
                elif not self._agree(shard, order, row):
                    self._doom(order.order_id)

    def _close(self, shard: int, order: OpenOrder) -> None:
        is_filled = order.remaining == 0 if order.quantity else order.filled > 0
        reason: DoneReason = "filled" if is_filled else "canceled"
        if not is_filled:
            self.ended.add(order.order_id)
        done = Done(0, order.order_id, order.account, order.side, reason, order.price, order.remaining)
        self._settle(shard, done)

    def _agree(self, shard: int, order: OpenOrder, row: BookRow) -> bool:
        """Give the order in the ledger the terms that it has on the book. False: its hold does not suffice."""
        left = left_of(row)
        stop_price = self._other_stop_price(order, row)
        is_amended = row.price != order.price or stop_price or (order.quantity and left > order.remaining)
        if is_amended and not self._amend(order, row.price, order.filled + left if order.quantity else 0, stop_price):
            return False
        spare = self._spare(order, left)
        if spare is None or (spare == 0 and left == order.remaining) or not order.quantity:
            return True
        if spare > 0 or left < order.remaining:
            self._settle(shard, self._change(order, order.price, left, "stp"))
            return True
        return spare >= 0

    def _other_stop_price(self, order: OpenOrder, row: BookRow) -> int:
        """Where a stop that sleeps stands, if that is not where the ledger has it (0: it is, or it trails)."""
        asked = order.conditions
        if not isinstance(row, WaitingRow) or asked is None or not asked.stop_price:
            return 0
        return row.stop_price if row.stop_price != asked.stop_price else 0

    def _spare(self, order: OpenOrder, left: int) -> int | None:
        """What the order holds more than it needs with ``left`` lots. None: it waits behind another, and is as it was.

        Two rivals hold together what the dearer needs.
        """
        instrument = self.rows.instrument
        rival = self._order(order.rival) if order.rival else None
        if order.due or (rival is not None and rival.due):
            return None
        needed = still_needed(msgspec.structs.replace(order, remaining=left), instrument)
        if rival is None:
            return order.hold - needed
        return order.hold + rival.hold - max(needed, still_needed(rival, instrument))

    def _amend(self, order: OpenOrder, price: int, quantity: int, stop_price: int = 0) -> bool:
        """Settle an amend as if its request were still known. False: the order does not hold enough for it."""
        left = quantity - order.filled if quantity else order.remaining
        if order.due:
            return False
        after = msgspec.structs.replace(order, price=price, quantity=quantity or order.quantity)
        spare = self._spare(after, left)
        if spare is None or spare < 0:
            return False
        asked = AskedAmend(f"recover-{order.order_id}", price, quantity, stop_price)
        order.amends = (asked,)
        change = self._change(order, price, left, "amend")
        change.stop_price, change.request_id = stop_price, asked.request_id
        self._settle(shard_of_order(order.order_id), change)
        return True

    def _change(self, order: OpenOrder, price: int, left: int, reason: str) -> Change:
        return Change(
            0, order.order_id, order.account, order.side, price, order.remaining, left, reason, order.price  # type: ignore[arg-type]
        )  # fmt: skip

    # --- 5: what is on the book alone ---

    def _drop_strangers(self) -> None:
        for order_id in [one for one in self._on_book if self._order(one) is None]:
            self._doom(order_id)
        lists = {row.list_id: row for row in self.rows.listed if row.kind != "oco"}
        for row in self.rows.listed:
            found = self._on_book.get(row.order_id)
            waits = isinstance(found, WaitingRow) and found.status == "pending"
            if waits and row.list_id in lists and row.position and row.list_id not in self._on_book:
                self._doom(row.order_id)

    def _doom(self, order_id: int) -> None:
        """Take an order off the book, close it, and end its list."""
        row = self._on_book.pop(order_id, None)
        if row is None:
            return
        self._gone[order_id] = row
        self.ended.add(order_id)
        order = self._order(order_id)
        if order is not None:
            self._close(shard_of_order(order_id), order)
        lists = {one.list_id for one in self.rows.listed if one.order_id == order_id}
        for one in self.rows.listed:
            if one.list_id in lists:
                self._doom(one.order_id)

    # --- what the logs are told ---

    def _tell_book(self) -> None:
        for order_id, row in self._gone.items():
            self.events.append(Done(self._next(), order_id, row.account, row.side, "canceled", row.price, left_of(row)))
        for order_id in sorted(self._shrunk & self._on_book.keys()):
            row = self._on_book[order_id]
            assert isinstance(row, RestingRow)
            self.events.append(
                Change(
                    self._next(), order_id, row.account, row.side, row.price, left_of(row), left_of(row),
                    hidden=row.hidden,
                )
            )  # fmt: skip

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _order(self, order_id: int) -> OpenOrder | None:
        ledger = self.ledgers.get(shard_of_order(order_id))
        return None if ledger is None else ledger.order(order_id)

    def _settle(self, shard: int, event: Match | Change | Done) -> None:
        ledger = self.ledgers[shard]
        events = ledger.settle(self._symbol, BookEntry(self._source, self._now, [event]), self._now)
        if events:
            self.entries[shard].append(LedgerEntry(self._source, ledger.time, events))
