"""The naive book's call auction."""

# mypy: disable-error-code="attr-defined"
# A part of NaiveBook, which has what this uses.

from shared.messages import Match


class AuctionRules:
    """For ``NaiveBook``, which has the rest."""

    def collects(self):
        """Rule: a call auction collects orders without matching."""
        return self.instrument is not None and self.instrument.mode == "auction"

    def counted(self, side):
        """All orders of a side in priority; of two legs that cancel each other only the first."""
        seen, found = [], []
        for order in self.in_priority(side):
            group = self.group_of(order.order_id)
            if group and order.order_id in group.legs:
                if group in seen:
                    continue
                seen.append(group)
            found.append(order)
        return found

    def auction_price(self):
        """Rule: maximum volume, then minimum imbalance, then nearest to the last price, then lowest."""
        buys, sells = self.counted("buy"), self.counted("sell")
        best = None
        if not buys or not sells:
            return None
        for price in range(min(one.price for one in sells), max(one.price for one in buys) + 1):
            demand = sum(one.left for one in buys if one.price >= price)
            supply = sum(one.left for one in sells if one.price <= price)
            away = abs(price - self.last_price) if self.last_price else 0
            rank = (-min(demand, supply), abs(demand - supply), away, price)
            if best is None or rank < best[0]:
                best = (rank, (price, min(demand, supply), demand - supply))
        return best and best[1]

    def uncross(self):
        """Rule: all fills at one price, priority price-time; an account's own orders decrement each other."""
        found = self.auction_price()
        while found:
            price = found[0]
            buys = [one for one in self.in_priority("buy") if one.price >= price]
            sells = [one for one in self.in_priority("sell") if one.price <= price]
            if not buys or not sells:
                break
            buy, sell = buys[0], sells[0]
            if buy.account == sell.account:
                if buy.left == sell.left:
                    self.drop(buy)
                    self.drop(sell)
                elif buy.left < sell.left:
                    self.drop(buy)
                    self.shrink(sell, buy.left)
                else:
                    self.drop(sell)
                    self.shrink(buy, sell.left)
            else:
                self.trade_in_auction(price, buy, sell)
            self.follow_lists()
        self.reference = self.last_price

    def trade_in_auction(self, price, buy, sell):
        """Rule: nobody takes, so both pay the maker's rate."""
        lots = min(buy.remaining, sell.remaining)
        self.note_trade(price)
        self.public(
            Match, trade_id=self.trade_id, maker_order_id=sell.order_id, taker_order_id=buy.order_id,
            maker_account=sell.account, taker_account=buy.account, side="sell", price=price, quantity=lots,
            maker_fee=sell.maker_fee, taker_fee=buy.maker_fee, auction=True,
        )  # fmt: skip
        self.fill(sell, lots)
        self.fill(buy, lots)
