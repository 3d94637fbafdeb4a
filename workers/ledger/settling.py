"""What the books did, as events of the ledger: the half of it that nobody asked for in a request."""

from shared.instrument import Instrument
from shared.messages import (
    AmendFailed,
    AmendRefused,
    BookEntry,
    Change,
    Done,
    Filled,
    HoldFunded,
    HoldMoved,
    LastPrice,
    LedgerEvent,
    Liquidity,
    Match,
)
from workers.ledger.holds import still_needed
from workers.ledger.orders import OpenOrder
from workers.ledger.settlement import amendment, closure, failed_amend, fill, reduction
from workers.ledger.state import LedgerState


class Settling(LedgerState):
    """A ledger that follows the logs of the books."""

    def settle(self, symbol: str, entry: BookEntry, now_ns: int) -> list[LedgerEvent]:
        """What an entry of a book's log means for the accounts of this shard, folded already; often nothing.

        Each entry is to be settled once: the runtime keeps the position. Raises ``CorruptState`` if book and ledger
        contradict each other.
        """
        instrument = self._instrument_of(symbol)
        events: list[LedgerEvent] = []
        last_price = 0
        for event in entry.events:
            kind = type(event)
            if kind is Match:
                last_price = event.price  # type: ignore[union-attr]  # a dispatch on the type itself, for its speed
                self._settle_match(instrument, event, events)  # type: ignore[arg-type]
            elif (kind is Done or kind is Change) and event.account % self.shards == self.shard:  # type: ignore[union-attr]
                order = self.orders.known(event.order_id, event.account, symbol)  # type: ignore[union-attr]
                if kind is Change:
                    self._settle_change(instrument, order, event, events)  # type: ignore[arg-type]
                    continue
                if order.rival:
                    self._fit(self.orders.get(order.rival), instrument, events)
                self._record(closure(order, event), events)  # type: ignore[arg-type]
            elif kind is AmendRefused and event.account % self.shards == self.shard:  # type: ignore[union-attr]
                self._settle_refused(instrument, event, events)  # type: ignore[arg-type]
        if last_price and self.last_prices.get(symbol) != last_price:
            self._record(LastPrice(symbol, last_price), events)
        if events:  # without them there is no log entry, and a folded state would not know the time
            self.time = max(self.time, now_ns)
        return events

    def _settle_match(self, instrument: Instrument, match: Match, events: list[LedgerEvent]) -> None:
        if match.maker_account % self.shards == self.shard:
            order = self.orders.known(match.maker_order_id, match.maker_account, instrument.symbol)
            self._settle_fill(order, instrument, match, "M", events)
        if match.taker_account % self.shards == self.shard:
            order = self.orders.known(match.taker_order_id, match.taker_account, instrument.symbol)
            self._settle_fill(order, instrument, match, "M" if match.auction else "T", events)

    def _settle_fill(
        self, order: OpenOrder, instrument: Instrument, match: Match, liquidity: Liquidity, events: list[LedgerEvent]
    ) -> None:
        if order.rival:
            self._fit(order, instrument, events)
        filled = fill(order, instrument, match, liquidity)
        self._record(filled, events)
        if order.children:
            self._fund(order, filled, events)

    def _settle_change(
        self, instrument: Instrument, order: OpenOrder, change: Change, events: list[LedgerEvent]
    ) -> None:
        if change.reason == "amend":
            least = self._hold_for_both(order, instrument, events)
            self._record(amendment(order, instrument, change, least), events)
        elif order.quantity:  # a decrement of an order by funds leaves them held until it is done
            least = self._hold_for_both(order, instrument, events)
            self._record(reduction(order, instrument, change.new_quantity, least), events)

    def _settle_refused(self, instrument: Instrument, refused: AmendRefused, events: list[LedgerEvent]) -> None:
        order = self.orders.get(refused.order_id)
        if order is not None:
            least = self._hold_for_both(order, instrument, events)
            self._record(failed_amend(order, instrument, refused, least), events)
            return
        failed = AmendFailed(refused.request_id, refused.account, refused.order_id, instrument.symbol, refused.reason)
        self._record(failed, events)

    # --- two rivals hold together what the dearer needs (holds.py, law 3) ---

    def _fit(self, order: OpenOrder | None, instrument: Instrument, events: list[LedgerEvent]) -> None:
        """One of two rivals is about to be left alone: it gets what it needs of what both hold, and no more."""
        assert order is not None
        rival = self.orders.known(order.rival, order.account, order.instrument)
        if order.due or rival.due:
            return  # their parent is not filled: what ends one of them ends the other with it
        lacks = still_needed(order, instrument) - order.hold
        if lacks > 0:
            self._move(rival, order, lacks, events)
        elif lacks < 0:
            self._move(order, rival, -lacks, events)

    def _hold_for_both(self, order: OpenOrder, instrument: Instrument, events: list[LedgerEvent]) -> int:
        """An order's needs are about to change: it takes over what its rival holds, and has to hold that much."""
        rival = self.orders.get(order.rival)
        if rival is None:
            return 0
        if rival.hold:
            self._move(rival, order, rival.hold, events)
        return still_needed(rival, instrument)

    def _move(self, giver: OpenOrder, order: OpenOrder, amount: int, events: list[LedgerEvent]) -> None:
        moved = HoldMoved(order.account, order.instrument, giver.order_id, order.order_id, amount)
        self._record(moved, events)

    # --- what waits behind a parent is paid with what that brings (holds.py, law 4) ---

    def _fund(self, parent: OpenOrder, filled: Filled, events: list[LedgerEvent]) -> None:
        left = filled.base_amount if filled.side == "buy" else filled.cost - filled.fee
        for child in (self.orders.get(number) for number in parent.children):
            if child is not None and (amount := min(left, child.due)):
                left -= amount
                funded = HoldFunded(child.account, child.instrument, child.order_id, amount, child.side)
                self._record(funded, events)

    def _record(self, event: LedgerEvent, events: list[LedgerEvent]) -> None:
        self.fold(event)
        events.append(event)
