"""An order book to be compared with: written from the rules alone, slow and plain.

One list holds the resting orders in order of arrival; whoever needs the best one sorts it. It shares no code with
the engine but the messages. The methods name the rules they follow.
"""

from typing import Any

from shared.errors import RejectReason
from shared.messages import (
    AllCanceled,
    Cancel,
    CancelAll,
    CancelRefused,
    Change,
    Configure,
    Configured,
    Done,
    Match,
    Open,
    Place,
    Received,
)


class Resting:
    """An order on the book."""

    def __init__(self, place: Place, remaining: int):
        self.order_id = place.order_id
        self.account = place.account
        self.side = place.side
        self.price = place.price
        self.remaining = remaining
        self.maker_fee = place.maker_fee


class Arriving:
    """An order while it trades. A cap that the order does not have stays 0."""

    def __init__(self, order: Place):
        self.order = order
        self.quantity = order.quantity
        self.funds = order.funds
        self.stopped = False

    def use_up(self, lots, money):
        """A trade took this much."""
        if self.order.quantity:
            self.quantity -= lots
        if self.order.funds:
            self.funds -= money


class NaiveBook:
    """``apply`` answers the very events the engine must answer."""

    def __init__(self):
        self.instrument: Any = None
        self.book: list[Resting] = []
        self.events = []
        self.sequence = 0
        self.trade_id = 0
        self.last_price = 0
        self.time = 0

    def apply(self, command):
        """One command, its events."""
        self.time = max(self.time, command.time)
        self.events = []
        if isinstance(command, Place):
            self.place(command)
        elif isinstance(command, Cancel):
            self.cancel(command)
        elif isinstance(command, CancelAll):
            self.cancel_all(command)
        elif isinstance(command, Configure):
            self.instrument = command.instrument
            self.events.append(Configured(instrument=command.instrument))
        return self.events

    def public(self, kind, **fields):
        """All public events take the next sequence number."""
        self.sequence += 1
        self.events.append(kind(sequence=self.sequence, **fields))

    # --- who rests ---

    def in_priority(self, side):
        """Rule: price, then time of arrival at that price. Sorting is stable, the list is in order of arrival."""
        orders = [order for order in self.book if order.side == side]
        return sorted(orders, key=lambda order: -order.price if side == "buy" else order.price)

    def levels(self, side):
        """(price, quantity, count), best first."""
        found: dict[int, tuple[int, int]] = {}
        for order in self.in_priority(side):
            quantity, count = found.get(order.price, (0, 0))
            found[order.price] = (quantity + order.remaining, count + 1)
        return [(price, *totals) for price, totals in found.items()]

    # --- place ---

    def place(self, order):
        """Rule: every accepted order ends in exactly one terminal done."""
        cause = self.refusal(order)
        if cause:
            self.end(order, "rejected", order.quantity, cause)
            return
        self.public(
            Received,
            **{name: getattr(order, name) for name in Place.__struct_fields__ if name != "time"},
        )
        if order.post_only and self.candidates(order):
            # rule: post-only is rejected if any part would take
            self.end(order, "rejected", order.quantity, RejectReason.POST_ONLY)
        elif order.time_in_force == "FOK" and not self.would_fill(order):
            # rule: a short FOK means no trade at all, market FOK too
            self.end(order, "canceled", order.quantity, RejectReason.FILL_OR_KILL)
        else:
            self.take_and_rest(order)

    def refusal(self, order):
        """The mode and the shape of the order."""
        if self.instrument is None:
            return RejectReason.UNKNOWN_INSTRUMENT
        mode = self.instrument.mode
        if mode in ("halted", "delisted"):
            return RejectReason.HALTED
        if mode == "cancel-only":
            return RejectReason.CANCEL_ONLY
        if mode == "limit-only" and order.order_type == "market":
            return RejectReason.LIMIT_ONLY_MODE
        if mode == "post-only" and not order.post_only:
            return RejectReason.POST_ONLY_MODE
        if order.order_type == "limit":
            well_formed = order.price > 0 and order.quantity > 0 and order.funds == 0
        else:
            well_formed = min(order.price, order.quantity, order.funds) >= 0 and order.quantity + order.funds > 0
        if order.post_only and (order.order_type == "market" or order.time_in_force != "GTC"):
            well_formed = False
        if order.time_in_force == "GTT" or not well_formed:
            return RejectReason.INVALID_ORDER
        return None

    def end(self, order, reason, remaining, cause=None):
        """The arriving order's one ``done``."""
        self.public(
            Done,
            order_id=order.order_id,
            account=order.account,
            side=order.side,
            reason=reason,
            price=order.price if order.order_type == "limit" else 0,
            remaining=remaining,
            cause=cause,
        )

    def candidates(self, order):
        """Resting orders of the other side within the limit, best first."""
        other = "sell" if order.side == "buy" else "buy"
        found = self.in_priority(other)
        if not order.price:
            return found
        if order.side == "buy":
            return [maker for maker in found if maker.price <= order.price]
        return [maker for maker in found if maker.price >= order.price]

    @staticmethod
    def aims_at_funds(order):
        """A buy's funds beside a quantity, and a sell's quantity beside funds, only bound the order."""
        if order.side == "sell":
            return order.funds > 0
        return order.funds > 0 and order.quantity == 0

    def lots_at(self, order, price, quantity, funds):
        """Rule: per level quantity = floor(funds / price) in lots."""
        caps = []
        if order.quantity:
            caps.append(quantity)
        if order.funds:
            caps.append(funds // (price * self.instrument.tick_value))
        return min(caps)

    def would_fill(self, order):
        """Rule: FOK looks first at all quantity within the limit, and at what STP would remove."""
        quantity, funds, traded = order.quantity, order.funds, 0
        for maker in self.candidates(order):
            if maker.account == order.account:
                if order.stp == "co":
                    continue
                return False
            unit = maker.price * self.instrument.tick_value
            lots = min(self.lots_at(order, maker.price, quantity, funds), maker.remaining)
            traded += lots
            quantity -= lots
            funds -= lots * unit
            if self.aims_at_funds(order):
                if funds < unit:
                    return traded > 0
                if order.quantity and quantity == 0:
                    return False
            else:
                if quantity == 0:
                    return True
                if order.funds and funds < unit:
                    return False
        return False

    def take_and_rest(self, order):
        """Trade while it can; then rest, or be done."""
        arriving = Arriving(order)
        while not arriving.stopped:
            makers = self.candidates(order)
            if not makers:
                break
            maker = makers[0]
            lots = self.lots_at(order, maker.price, arriving.quantity, arriving.funds)
            if lots == 0:
                break  # rule: stop at 0
            if maker.account == order.account:
                self.prevent_self_trade(arriving, maker, lots)
            else:
                lots = min(lots, maker.remaining)
                arriving.use_up(lots, lots * maker.price * self.instrument.tick_value)
                self.trade(order, maker, lots)
        self.finish(arriving)

    def prevent_self_trade(self, arriving, maker, lots):
        """Rule: the taker's flag decides. dc: cancel the smaller, decrement the larger, equal cancels both."""
        order = arriving.order
        if order.stp == "dc":
            mine = lots if self.aims_at_funds(order) else arriving.quantity
            if maker.remaining > mine:
                self.shrink(maker, mine)
                arriving.stopped = True
            elif maker.remaining == mine:
                self.drop(maker)
                arriving.stopped = True
            else:
                taken = maker.remaining
                self.drop(maker)
                self.shrink_arriving(arriving, taken, taken * maker.price * self.instrument.tick_value)
        if order.stp in ("co", "cb"):
            self.drop(maker)
        if order.stp in ("cn", "cb"):
            arriving.stopped = True

    def finish(self, arriving):
        """Rules: left-over funds end as done, reason canceled; the rest of an IOC is cancelled, never rests."""
        order, left = arriving.order, arriving.quantity
        aim = arriving.funds if self.aims_at_funds(order) else arriving.quantity
        if aim == 0:
            self.end(order, "filled", left)
        elif arriving.stopped:
            self.end(order, "canceled", left, RejectReason.SELF_TRADE)
        elif order.order_type == "market":
            self.end(order, "canceled", left, RejectReason.NO_LIQUIDITY)
        elif order.time_in_force == "IOC":
            self.end(order, "canceled", left, RejectReason.IMMEDIATE_OR_CANCEL)
        else:
            self.public(
                Open,
                order_id=order.order_id,
                account=order.account,
                side=order.side,
                price=order.price,
                remaining=left,
            )
            self.book.append(Resting(order, left))

    def trade(self, order, maker, lots):
        """Rule: the trade price is the maker's, and so is the side of a match."""
        self.trade_id += 1
        self.last_price = maker.price
        self.public(
            Match,
            trade_id=self.trade_id,
            maker_order_id=maker.order_id,
            taker_order_id=order.order_id,
            maker_account=maker.account,
            taker_account=order.account,
            side=maker.side,
            price=maker.price,
            quantity=lots,
            maker_fee=maker.maker_fee,
            taker_fee=order.taker_fee,
        )
        maker.remaining -= lots
        if maker.remaining == 0:
            self.book.remove(maker)
            self.end_resting(maker, "filled")

    def end_resting(self, maker, reason, cause=None):
        """The ``done`` of an order that rested."""
        self.public(
            Done,
            order_id=maker.order_id,
            account=maker.account,
            side=maker.side,
            reason=reason,
            price=maker.price,
            remaining=maker.remaining,
            cause=cause,
        )

    def drop(self, maker):
        """Self-trade prevention cancels a resting order."""
        self.book.remove(maker)
        self.end_resting(maker, "canceled", RejectReason.SELF_TRADE)

    def shrink(self, maker, by):
        """Rule: a decrement is a change event."""
        self.public(
            Change,
            order_id=maker.order_id,
            account=maker.account,
            side=maker.side,
            price=maker.price,
            old_quantity=maker.remaining,
            new_quantity=maker.remaining - by,
        )
        maker.remaining -= by

    def shrink_arriving(self, arriving, lots, money):
        """Rule: a decrement is a change event, and takes from what the order aims at."""
        order = arriving.order
        quantity, funds = arriving.quantity, arriving.funds
        by_funds = self.aims_at_funds(order)
        if by_funds:
            arriving.funds -= money
        else:
            arriving.quantity -= lots
        self.public(
            Change,
            order_id=order.order_id,
            account=order.account,
            side=order.side,
            price=order.price if order.order_type == "limit" else 0,
            old_quantity=quantity,
            new_quantity=arriving.quantity,
            old_funds=funds if by_funds else 0,
            new_funds=arriving.funds if by_funds else 0,
        )

    # --- cancel ---

    def cancel(self, command):
        """Rule: cancelling an unknown order is refused, and does not poison the id."""
        for order in self.book:
            if order.order_id == command.order_id:
                self.book.remove(order)
                self.end_resting(order, "canceled")
                return
        self.events.append(
            CancelRefused(order_id=command.order_id, account=command.account, request_id=command.request_id)
        )

    def cancel_all(self, command):
        """Rule: by account and side, in the order of the ids."""
        chosen = [
            order for order in self.book if command.account in (0, order.account) and command.side in ("", order.side)
        ]
        for order in sorted(chosen, key=lambda one: one.order_id):
            self.book.remove(order)
            self.end_resting(order, "canceled")
        self.events.append(AllCanceled(account=command.account, count=len(chosen), request_id=command.request_id))
