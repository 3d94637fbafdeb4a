"""An order book to be compared with: written from the rules alone, slow and plain.

One list holds the resting orders in order of arrival; whoever needs the best one sorts it. It shares no code with
the engine but the messages. The methods name the rules they follow.
"""

from typing import Any

import msgspec

from shared.errors import RejectReason
from shared.messages import (
    Activate,
    AllCanceled,
    Amend,
    AmendRefused,
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
    PlaceList,
    Received,
    Tick,
    Ticked,
)
from tests.oracle.auction_rules import AuctionRules
from tests.oracle.list_rules import ListRules
from tests.oracle.orders import Arriving, Resting, Sleeping, terms

FIELDS = [name for name in Place.__struct_fields__ if name != "time"]


class NaiveBook(AuctionRules, ListRules):
    """``apply`` answers the very events the engine must answer."""

    def __init__(self):
        self.instrument: Any = None
        self.book: list[Resting] = []
        self.sleeping: list[Sleeping] = []
        self.groups: list[Any] = []
        self.pending: list[Place] = []
        self.queue: list[int] = []
        self.followed = 0
        self.events = []
        self.sequence = 0
        self.trade_id = 0
        self.last_price = 0
        self.time = 0

    def apply(self, command):
        """One command, its events."""
        self.time = max(self.time, command.time)
        self.events = []
        self.reference = self.last_price
        self.queue = []
        self.followed = 0
        self.expire()
        if isinstance(command, Place):
            self.place(command)
        elif isinstance(command, PlaceList):
            self.place_list(command)
        elif isinstance(command, Amend):
            self.amend(command)
        elif isinstance(command, Tick):
            self.events.append(Ticked(time=command.time))
        elif isinstance(command, Cancel):
            self.cancel(command)
        elif isinstance(command, CancelAll):
            self.cancel_all(command)
        elif isinstance(command, Configure):
            before, self.instrument = self.instrument, command.instrument
            self.events.append(Configured(instrument=command.instrument))
            if before and before.mode == "auction" and not self.collects():
                self.uncross()
        self.let_in()
        return self.events

    def expire(self):
        """Rule: what has expired goes before anything could meet it, the earliest first."""
        dated = [(terms(one).expires, one.order_id) for one in self.everything()]
        for expires, order_id in sorted(dated):
            if 0 < expires <= self.time:
                self.remove(order_id, RejectReason.EXPIRED)
                self.follow_lists()

    def held(self) -> "list[Resting | Sleeping]":
        """Orders that rest or sleep."""
        return [*self.book, *self.sleeping]

    def everything(self):
        """All orders that are not done, as they were placed."""
        return [*(one.place for one in self.held()), *self.pending]

    def let_in(self):
        """Rule: who is due enters as a new taker, one by one, until nobody is: children, then stops, oldest first."""
        while True:
            self.follow_lists()
            if self.instrument and self.instrument.mode == "online":
                woken = [one for one in self.sleeping if one.triggers(self.last_price)]
                for one in sorted(woken, key=lambda one: one.age):
                    if one.place.order_id not in self.queue:
                        self.queue.append(one.place.order_id)
                        one.woken_at = self.last_price
            if not self.queue:
                break
            order_id = self.queue.pop(0)
            for sleeping in [one for one in self.sleeping if one.place.order_id == order_id]:
                self.sleeping.remove(sleeping)
                self.cancel_rivals(order_id)  # rule: one leg's activation cancels the other
                self.enter(self.bounded(sleeping))
            for place in [one for one in self.pending if one.order_id == order_id]:
                self.pending.remove(place)
                for group in self.groups:
                    if order_id in group.legs:
                        group.parent, group.waiting = 0, False
                if terms(place).stop:
                    self.activate(place)
                else:
                    self.enter(place, self.kept_out(place))

    def bounded(self, sleeping):
        """Rule: a trailing stop goes no further than the collar from the trade that wakes it, nor beyond its bound."""
        place = sleeping.place
        if not (terms(place).trail or terms(place).trail_bps):
            return place
        away = sleeping.woken_at * self.instrument.collar
        if place.side == "sell":
            around = max(1, (sleeping.woken_at * 1_000_000 - away) // 1_000_000)
            price = max(around, place.price)
        else:
            around = (sleeping.woken_at * 1_000_000 + away + 999_999) // 1_000_000
            price = min(around, place.price or around)
        return msgspec.structs.replace(place, price=price)

    # --- events ---

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
            found[order.price] = (quantity + order.remaining, count + 1)  # rule: views show the displayed quantity
        return [(price, *totals) for price, totals in found.items()]

    # --- place ---

    def place(self, order):
        """Rule: every accepted order ends in exactly one terminal done."""
        cause = self.refusal(order)
        if cause:
            self.end(order, "rejected", order.quantity, cause)
        elif terms(order).stop:
            self.activate(order)
        else:
            self.enter(order)

    def activate(self, order):
        """Rule: a stop is off the book until it triggers."""
        seen = [self.last_price] if self.last_price else []
        sleeping = Sleeping(order, seen, self.sequence + 1)
        self.sleeping.append(sleeping)
        fields = {name: getattr(order, name) for name in FIELDS}
        self.public(Activate, **fields, stop_price=sleeping.stands_at())

    def enter(self, order, cause=None):
        """An order comes to the book; one that waited for it may be kept out by then."""
        self.public(Received, **{name: getattr(order, name) for name in FIELDS})
        if cause:
            self.end(order, "canceled", order.quantity, cause)
        elif self.collects():
            self.open(Resting(order, order.quantity, 0))
        elif order.post_only and self.candidates(order):
            # rule: post-only is rejected if any part would take
            self.end(order, "rejected", order.quantity, RejectReason.POST_ONLY)
        elif order.time_in_force == "FOK" and not self.would_fill(order):
            # rule: a short FOK means no trade at all, market FOK too
            self.end(order, "canceled", order.quantity, RejectReason.FILL_OR_KILL)
        elif terms(order).min_quantity and not self.would_fill(order, terms(order).min_quantity):
            # rule: at least that much must fill at once
            self.end(order, "canceled", order.quantity, RejectReason.MINIMUM_QUANTITY)
        else:
            self.take_and_rest(Arriving(order))

    def refusal(self, order):
        """The mode and the shape of the order."""
        if self.instrument is None:
            return RejectReason.UNKNOWN_INSTRUMENT
        return self.kept_out(order) or self.malformed(order)

    def kept_out(self, order):
        """What the mode says."""
        mode = self.instrument.mode
        if mode in ("halted", "delisted"):
            return RejectReason.HALTED
        if mode == "cancel-only":
            return RejectReason.CANCEL_ONLY
        at_once = order.order_type == "market" or order.time_in_force in ("IOC", "FOK") or terms(order).min_quantity
        if mode == "auction" and at_once and not terms(order).stop:
            return RejectReason.AUCTION_MODE
        if mode == "limit-only" and order.order_type == "market" and not terms(order).stop:
            return RejectReason.LIMIT_ONLY_MODE
        if mode == "post-only" and not order.post_only and not terms(order).stop:
            return RejectReason.POST_ONLY_MODE
        return None

    def malformed(self, order):
        """What cannot be meant."""
        asked = terms(order)
        if not self.sound(order, asked):
            return RejectReason.INVALID_ORDER
        if asked.expires and asked.expires <= self.time:
            return RejectReason.EXPIRED
        if order.order_type == "limit":
            well_formed = order.price > 0 and order.quantity > 0 and order.funds == 0
        else:
            well_formed = min(order.price, order.quantity, order.funds) >= 0 and order.quantity + order.funds > 0
        if order.post_only and (order.order_type == "market" or order.time_in_force in ("IOC", "FOK")):
            well_formed = False
        return None if well_formed else RejectReason.INVALID_ORDER

    @staticmethod
    def sound(order, asked):
        """Which conditions go with which order."""
        limit, gtt = order.order_type == "limit", order.time_in_force == "GTT"
        if asked.expires < 0 or gtt != (asked.expires > 0) or (gtt and not limit and not asked.stop):
            return False
        display, least = asked.display_quantity, asked.min_quantity
        if display and not (limit and order.time_in_force in ("GTC", "GTT") and 0 < display <= order.quantity):
            return False
        if display and order.quantity > 1000 * display:  # rule: an iceberg has a thousand parts at most
            return False
        if least and not (0 < least <= order.quantity and order.funds == 0 and not order.post_only):
            return False
        trails = [asked.trail, asked.trail_bps]
        if not asked.stop:
            return trails == [0, 0] and asked.stop_price == 0
        if order.post_only:
            return False
        if trails == [0, 0]:
            return asked.stop_price > 0
        toward = {"sell": "loss", "buy": "entry"}[order.side]
        one = min(trails) == 0 < max(trails) and asked.trail_bps <= 10_000
        return one and not limit and asked.stop == toward and asked.stop_price == 0

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

    def parts(self, order):
        """Makers and what they would give, in the order of trading: at one price all that is shown, then the hidden."""
        makers = [maker for maker in self.candidates(order) if self.within_collar(order, maker.price)]
        for price in dict.fromkeys(maker.price for maker in makers):
            here = [maker for maker in makers if maker.price == price]
            yield from [(maker, maker.remaining) for maker in here]
            yield from [(maker, maker.hidden) for maker in here if maker.hidden]

    def would_fill(self, order, least=0):
        """Rule: FOK looks first at all quantity within the limit, and at what STP would remove."""
        quantity, funds, traded = least or order.quantity, order.funds, 0
        gone = set()
        for maker, available in self.parts(order):
            if maker.order_id in gone:
                continue  # rule: a fill of one leg cancels the other
            group = self.group_of(maker.order_id)
            if group and maker.order_id in group.legs:
                gone |= set(group.legs) - {maker.order_id}
            if maker.account == order.account:
                if order.stp == "co":
                    continue
                return False
            unit = maker.price * self.instrument.tick_value
            lots = min(self.lots_at(order, maker.price, quantity, funds), available)
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

    def within_collar(self, order, price):
        """Rule: nobody takes at a price that is worse than the last one before the command by more than the collar."""
        width = self.reference * self.instrument.price_collar // 1_000_000
        if not self.reference or not self.instrument.price_collar:
            return True
        return price <= self.reference + width if order.side == "buy" else price >= self.reference - width

    def take_and_rest(self, arriving):
        """Trade while it can; then rest, or be done."""
        order = arriving.order
        while not self.collects() and not arriving.stopped:
            makers = self.candidates(order)
            if not makers:
                break
            maker = makers[0]
            if not self.within_collar(order, maker.price):
                arriving.stopped = RejectReason.PRICE_COLLAR
                break
            lots = self.lots_at(order, maker.price, arriving.quantity, arriving.funds)
            if lots == 0:
                break  # rule: stop at 0
            if maker.account == order.account:
                self.prevent_self_trade(arriving, maker, lots)
            else:
                lots = min(lots, maker.remaining)
                arriving.use_up(lots, lots * maker.price * self.instrument.tick_value)
                self.trade(order, maker, lots)
            self.follow_lists()
        self.finish(arriving)

    def prevent_self_trade(self, arriving, maker, lots):
        """Rule: the taker's flag decides. dc: cancel the smaller, decrement the larger, equal cancels both."""
        order = arriving.order
        if order.stp == "dc":
            mine = lots if self.aims_at_funds(order) else arriving.quantity
            if maker.left > mine:
                self.shrink(maker, mine)
                arriving.stopped = RejectReason.SELF_TRADE
            elif maker.left == mine:
                self.drop(maker)
                arriving.stopped = RejectReason.SELF_TRADE
            else:
                taken = maker.left
                self.drop(maker)
                self.shrink_arriving(arriving, taken, taken * maker.price * self.instrument.tick_value)
        if order.stp in ("co", "cb"):
            self.drop(maker)
        if order.stp in ("cn", "cb"):
            arriving.stopped = RejectReason.SELF_TRADE

    def finish(self, arriving):
        """Rules: left-over funds end as done, reason canceled; the rest of an IOC is cancelled, never rests."""
        order, left = arriving.order, arriving.quantity
        aim = arriving.funds if self.aims_at_funds(order) else arriving.quantity
        if aim == 0:
            self.end(order, "filled", left)
        elif arriving.stopped:
            self.end(order, "canceled", left, arriving.stopped)
        elif order.order_type == "market":
            self.end(order, "canceled", left, RejectReason.NO_LIQUIDITY)
        elif order.time_in_force == "IOC":
            self.end(order, "canceled", left, RejectReason.IMMEDIATE_OR_CANCEL)
        else:
            self.open(Resting(order, left, arriving.filled))

    def open(self, resting):
        """At the back of its price, with what it shows."""
        self.book.append(resting)
        self.public(
            Open,
            order_id=resting.order_id,
            account=resting.account,
            side=resting.side,
            price=resting.price,
            remaining=resting.remaining,
            hidden=resting.hidden,
        )

    def trade(self, order, maker, lots):
        """Rule: the trade price is the maker's, and so is the side of a match."""
        self.note_trade(maker.price)
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
        self.fill(maker, lots)

    def note_trade(self, price):
        """What a trade is to all others."""
        self.trade_id += 1
        self.last_price = price
        for sleeping in self.sleeping:
            sleeping.seen.append(price)

    def fill(self, maker, lots):
        """Take from a resting order."""
        maker.remaining -= lots
        maker.left -= lots
        maker.filled += lots
        if maker.remaining == 0:
            self.book.remove(maker)
            if maker.left:
                maker.show()
                self.open(maker)  # rule: the refresh goes to the back of the level
            else:
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
            remaining=maker.left,
            cause=cause,
        )

    def drop(self, maker):
        """Self-trade prevention cancels a resting order."""
        self.book.remove(maker)
        self.end_resting(maker, "canceled", RejectReason.SELF_TRADE)

    def shrink(self, maker, by):
        """Rule: a decrement is a change event. An iceberg hides less before it shows less."""
        left = maker.left
        maker.left -= by
        maker.remaining = min(maker.remaining, maker.left)
        self.public(
            Change,
            order_id=maker.order_id,
            account=maker.account,
            side=maker.side,
            price=maker.price,
            old_quantity=left,
            new_quantity=maker.left,
            hidden=maker.hidden,
        )

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

    # --- amend ---

    def amend(self, command):
        """Rule: less quantity at the same price keeps priority; else to the back, and it matches if it crosses."""
        found = [one for one in self.held() if one.place.order_id == command.order_id]
        mode = self.instrument.mode if self.instrument else ""
        if not self.instrument:
            cause = RejectReason.UNKNOWN_INSTRUMENT
        elif mode in ("halted", "delisted"):
            cause = RejectReason.HALTED
        elif mode == "cancel-only":
            cause = RejectReason.CANCEL_ONLY
        elif min(command.price, command.quantity, command.stop_price) < 0:
            cause = RejectReason.INVALID_ORDER
        elif command.order_id in [one.order_id for one in self.pending]:
            cause = RejectReason.INVALID_ORDER  # rule: who waits cannot be amended
        elif not found:
            cause = RejectReason.UNKNOWN_ORDER
        elif isinstance(found[0], Sleeping):
            cause = self.amend_stop(command, found[0])
        elif command.stop_price:
            cause = RejectReason.INVALID_ORDER
        elif mode == "post-only" and not found[0].place.post_only:
            cause = RejectReason.POST_ONLY_MODE
        else:
            cause = self.amend_resting(command, found[0])
        if cause:
            self.events.append(
                AmendRefused(
                    order_id=command.order_id, account=command.account, reason=cause, request_id=command.request_id
                )
            )

    def amend_resting(self, command, order):
        """Rule: the new quantity is the total; below what is filled it is refused."""
        price = command.price or order.price
        left = command.quantity - order.filled if command.quantity else order.left
        again = msgspec.structs.replace(order.place, price=price, quantity=left, time_in_force="GTC")
        if left < 0:
            return RejectReason.QUANTITY_TOO_SMALL
        display = terms(order.place).display_quantity
        if display and left > 1000 * display:
            return RejectReason.INVALID_ORDER
        if left == 0:
            self.remove(order.order_id)
            return None
        stays = price == order.price and left <= order.left
        if not stays and order.place.post_only and self.candidates(again) and self.instrument.mode != "auction":
            return RejectReason.POST_ONLY  # and it stays as it was
        shown = min(order.remaining, left)
        self.public(
            Change, order_id=order.order_id, account=order.account, side=order.side, old_price=order.price, price=price,
            old_quantity=order.left, new_quantity=left, reason="amend", request_id=command.request_id,
            hidden=left - shown if stays else 0,
        )  # fmt: skip
        if stays:
            order.left, order.remaining = left, shown
        else:
            self.book.remove(order)
            self.take_and_rest(Arriving(again, order.filled))
        return None

    def amend_stop(self, command, sleeping):
        """Rule: a stop keeps its age; a trailing one has no stop price to set."""
        place, asked = sleeping.place, terms(sleeping.place)
        if command.stop_price and (asked.trail or asked.trail_bps):
            return RejectReason.INVALID_ORDER
        if command.quantity and not place.quantity:
            return RejectReason.INVALID_ORDER
        asked = msgspec.structs.replace(asked, stop_price=command.stop_price or asked.stop_price)
        quantity, price = command.quantity or place.quantity, command.price or place.price
        amended = msgspec.structs.replace(place, quantity=quantity, price=price, conditions=asked)
        cause = self.malformed(amended)
        if cause:
            return cause
        sleeping.place = amended
        self.public(
            Change, order_id=place.order_id, account=place.account, side=place.side, old_price=place.price, price=price,
            old_quantity=place.quantity, new_quantity=quantity, reason="amend", request_id=command.request_id,
            stop_price=sleeping.stands_at(),
        )  # fmt: skip
        return None

    # --- cancel ---

    def remove(self, order_id, cause=None):
        """Cancel an order wherever it is."""
        for order in self.book:
            if order.order_id == order_id:
                self.book.remove(order)
                self.end_resting(order, "canceled", cause)
                return True
        for sleeping in self.sleeping:
            if sleeping.place.order_id == order_id:
                self.sleeping.remove(sleeping)
                self.end(sleeping.place, "canceled", sleeping.place.quantity, cause)
                return True
        for place in self.pending:
            if place.order_id == order_id:
                self.pending.remove(place)
                self.end(place, "canceled", place.quantity, cause)
                return True
        return False

    def cancel(self, command):
        """Rule: cancelling an unknown order is refused, and does not poison the id."""
        if not self.remove(command.order_id):
            self.events.append(
                CancelRefused(order_id=command.order_id, account=command.account, request_id=command.request_id)
            )

    def cancel_all(self, command):
        """Rule: by account and side, in the order of the ids."""
        everything = self.everything()
        chosen = [
            one.order_id for one in everything if command.account in (0, one.account) and command.side in ("", one.side)
        ]
        for order_id in sorted(chosen):
            self.remove(order_id)
        self.events.append(AllCanceled(account=command.account, count=len(chosen), request_id=command.request_id))
