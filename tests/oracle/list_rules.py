"""The naive book's order lists."""

# mypy: disable-error-code="attr-defined"
# A part of NaiveBook, which has what this uses.

from shared.errors import RejectReason
from shared.messages import Change, Done, ListPlaced, Match
from tests.oracle.orders import Group


class ListRules:
    """For ``NaiveBook``, which has the rest."""

    def place_list(self, command):
        """Rule: all are taken up, or none."""
        orders = command.orders
        legs = orders if command.kind == "oco" else orders[1:]
        right = len(orders) == {"oco": 2, "oto": 2, "otoco": 3}[command.kind]
        if not right or len({one.side for one in legs}) > 1 or {one.account for one in orders} != {command.account}:
            causes = [RejectReason.INVALID_ORDER for _ in orders]
        else:
            live = orders if command.kind == "oco" else orders[:1]
            causes = [
                self.refusal(one) if one in live or not self.instrument else self.malformed(one) for one in orders
            ]
        if any(causes):
            for one, cause in zip(orders, causes, strict=True):
                self.end(one, "rejected", one.quantity, cause or RejectReason.LIST_REFUSED)
            return
        ids = [one.order_id for one in orders]
        self.pending += orders
        self.groups.append(Group(0, ids) if command.kind == "oco" else Group(ids[0], ids[1:], command.first_fill))
        self.queue = list(ids) if command.kind == "oco" else ids[:1]
        self.events.append(
            ListPlaced(account=command.account, kind=command.kind, orders=orders, first_fill=command.first_fill)
        )

    def group_of(self, order_id):
        """The list an order still belongs to."""
        return next((group for group in self.groups if order_id in (group.parent, *group.legs)), None)

    def cancel_rivals(self, order_id):
        """Rule: one leg's activation, any fill of it, or its end cancels the other."""
        group = self.group_of(order_id)
        if group and order_id != group.parent:
            self.groups.remove(group)  # and with that the list is over
            for other in group.legs:
                if other != order_id:
                    self.remove(other, RejectReason.LINKED_ORDER)

    def follow_lists(self):
        """After each trade and each end: what it means to the lists."""
        while self.followed < len(self.events):
            event = self.events[self.followed]
            self.followed += 1
            if isinstance(event, Match):
                for order_id in (event.maker_order_id, event.taker_order_id):
                    group = self.group_of(order_id)
                    if group and group.parent == order_id:
                        if group.first_fill:
                            self.call(group)
                    else:
                        self.cancel_rivals(order_id)
            elif isinstance(event, Change) and event.reason == "stp":
                group = self.group_of(event.order_id)
                if group and group.parent == event.order_id:
                    group.shrunk = True
            elif isinstance(event, Done):
                self.follow_end(event)

    def follow_end(self, event):
        """Rule: a child goes live by its parent's full fill; cancelling the parent cancels the child.

        A parent that lost some to self-trade prevention cannot be filled in full any more.
        """
        group = self.group_of(event.order_id)
        if group is None:
            return
        if group.parent == event.order_id:
            if event.reason == "filled" and not group.shrunk:
                self.call(group)
            elif not group.called:
                self.groups.remove(group)
                for leg in group.legs:
                    self.remove(leg, RejectReason.LINKED_ORDER)
            group.parent = 0
        else:
            self.cancel_rivals(event.order_id)

    def call(self, group):
        """The legs go live behind the order that trades now."""
        if not group.called:
            group.called = True
            self.queue += group.legs
