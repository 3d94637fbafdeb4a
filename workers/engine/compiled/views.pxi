# What the rules in Python see of the state in C: the interface of BookSide and Level, and of the dicts of BookState.
# Each view looks up again what it is asked for, so that none points to what has left.

cdef class SideView:
    """A side, as ``BookSide``."""

    cdef CompiledState book
    cdef Side* found

    @property
    def sign(self):
        return self.found.sign

    @property
    def keys(self):
        cdef KeysView view = KeysView.__new__(KeysView)
        view.book, view.found = self.book, self.found
        return view

    @property
    def levels(self):
        cdef LevelsView view = LevelsView.__new__(LevelsView)
        view.book, view.found = self.book, self.found
        return view

    def best(self):
        """The best price; 0 if nobody rests here."""
        return best_of(self.found)

    def ranked(self, limit=None):
        """Levels from the best on; with ``limit`` (a key) only those at least as good."""
        cdef Py_ssize_t at = self.found.count - 1
        while 0 <= at < self.found.count and (limit is None or self.found.keys[at] >= limit):
            yield make_level(self.book, self.found, self.found.levels[at].price)
            at -= 1

    def living(self):
        """All orders in priority order: price, then arrival."""
        cdef OrderIterator iterator = OrderIterator.__new__(OrderIterator)
        iterator.book, iterator.found, iterator.changes = self.book, self.found, self.book.changes
        iterator.at = self.found.count
        return iterator


cdef SideView make_side(CompiledState book, Side* found):
    cdef SideView view = SideView.__new__(SideView)
    view.book, view.found = book, found
    return view


cdef class KeysView:
    """``BookSide.keys``: the prices times the sign, the best last."""

    cdef CompiledState book
    cdef Side* found

    def __len__(self):
        return self.found.count

    def __getitem__(self, Py_ssize_t at):
        if at < 0:
            at += self.found.count
        if not 0 <= at < self.found.count:
            raise IndexError(at)
        return self.found.keys[at]


cdef class LevelsView:
    """``BookSide.levels``: the levels by price."""

    cdef CompiledState book
    cdef Side* found

    def __len__(self):
        return self.found.count

    def __contains__(self, price):
        return level_at(self.found, price) != NULL

    def __getitem__(self, price):
        if level_at(self.found, price) == NULL:
            raise KeyError(price)
        return make_level(self.book, self.found, price)

    def get(self, price, default=None):
        """The level of a price, if there is one."""
        return default if level_at(self.found, price) == NULL else make_level(self.book, self.found, price)


cdef Level* level_at(Side* side, object price):
    cdef int64_t ticks
    return side_level(side, side.sign * ticks) if number(<PyObject*>price, &ticks) else NULL


cdef class LevelView:
    """All orders at one price, as ``Level``."""

    cdef CompiledState book
    cdef Side* found
    cdef readonly int64_t price

    cdef Level* level(self) except NULL:
        cdef Level* level = side_level(self.found, self.found.sign * self.price)
        if level == NULL:
            raise RuntimeError(f"nobody rests at {self.price} any more")
        return level

    @property
    def quantity(self):
        return self.level().quantity

    @property
    def hidden(self):
        return self.level().hidden

    @property
    def queue(self):
        """Its front, which is all that the rules look at."""
        return (self.front(),)

    @property
    def head(self):
        """Where in ``queue`` the front is."""
        return 0

    def count(self):
        """How many orders live here."""
        return self.level().count

    def front(self):
        """A copy of the order that trades next."""
        return order_view(self.level().first)

    def living(self):
        """Copies of the orders in priority order."""
        cdef OrderIterator iterator = OrderIterator.__new__(OrderIterator)
        iterator.book, iterator.found, iterator.changes = self.book, self.found, self.book.changes
        iterator.order, iterator.at = self.level().first, 0
        return iterator


cdef LevelView make_level(CompiledState book, Side* found, int64_t price):
    cdef LevelView view = LevelView.__new__(LevelView)
    view.book, view.found, view.price = book, found, price
    return view


cdef class OrderIterator:
    """Copies of orders: from ``order`` to the end of its level, then those of the levels below ``at``."""

    cdef CompiledState book
    cdef Side* found
    cdef Order* order
    cdef Py_ssize_t at
    cdef uint64_t changes

    def __iter__(self):
        return self

    def __next__(self):
        if self.changes != self.book.changes:
            raise RuntimeError("who rests has changed while somebody goes through the orders")
        if self.order == NULL:
            if not self.at:
                raise StopIteration
            self.at -= 1
            self.order = self.found.levels[self.at].first
        cdef Order* order = self.order
        self.order = order.behind
        return order_view(order)


cdef class OrdersView:
    """``BookState.orders``: copies of the resting orders by id."""

    cdef CompiledState book

    def __len__(self):
        return self.book.order_pool.used

    def __contains__(self, order_id):
        return look_up(self.book, <PyObject*>order_id) != NULL

    def __getitem__(self, order_id):
        cdef Order* order = look_up(self.book, <PyObject*>order_id)
        if order == NULL:
            raise KeyError(order_id)
        return order_view(order)

    def __iter__(self):
        for order in self.values():
            yield order.order_id

    def get(self, order_id, default=None):
        """The order with this id, if it rests."""
        cdef Order* order = look_up(self.book, <PyObject*>order_id)
        return default if order == NULL else order_view(order)

    def values(self):
        """All of them."""
        yield from make_side(self.book, &self.book.buying).living()
        yield from make_side(self.book, &self.book.selling).living()


cdef OrdersView make_orders(CompiledState book):
    cdef OrdersView view = OrdersView.__new__(OrdersView)
    view.book = book
    return view


cdef class AccountsView:
    """``BookState.accounts``: how many accounts have orders that rest."""

    cdef CompiledState book

    def __len__(self):
        return self.book.accounts_by_id.count


cdef AccountsView make_accounts(CompiledState book):
    cdef AccountsView view = AccountsView.__new__(AccountsView)
    view.book = book
    return view
