# The state in C, the primitives that change it, and its views.

cdef class CompiledState:
    """The resting orders of a book as C structs. What else a book has are the Python objects of ``BookState``."""

    cdef Index pages
    cdef Index accounts_by_id
    cdef Pool page_pool
    cdef Pool order_pool
    cdef Pool level_pool
    cdef Pool account_pool
    cdef Side buying
    cdef Side selling
    cdef int64_t sequence_now
    cdef int64_t trade_now
    cdef int64_t price_now
    cdef uint64_t changes  # of who rests: an iterator over something else stops
    cdef object rules  # the instrument
    cdef int64_t tick_value
    cdef bint is_hot  # online, and with numbers that fit: else the rules in Python decide
    cdef bint has_collar
    cdef int64_t fee  # of the last trade
    cdef object fee_object
    cdef public object time
    cdef public object stops
    cdef public object lists
    cdef public object deadlines
    cdef public list queue
    cdef public bint extras
    cdef public bint is_online
    cdef public object reference
    cdef public object arriving
    cdef public object prevented
    cdef public dict refreshing

    def __cinit__(self):
        self.page_pool.size = sizeof(Page)
        self.order_pool.size = (sizeof(Order) + LINE - 1) // LINE * LINE  # all that links an order lies in one line
        self.level_pool.size = sizeof(Level)
        self.account_pool.size = sizeof(Account)
        self.buying.sign, self.selling.sign = 1, -1
        if not index_make(&self.pages) or not index_make(&self.accounts_by_id):
            raise MemoryError

    def __dealloc__(self):
        forget_side(&self.buying)
        forget_side(&self.selling)
        cdef size_t at
        cdef Entry* entry
        if self.accounts_by_id.segments != NULL:
            for at in range(self.accounts_by_id.buckets):
                entry = self.accounts_by_id.segments[at >> SEGMENT_BITS][at & (SEGMENT_BUCKETS - 1)]
                while entry != NULL:
                    Py_XDECREF((<Account*>entry).number)
                    entry = entry.chain
        index_free(&self.pages)
        index_free(&self.accounts_by_id)
        pool_free(&self.page_pool)
        pool_free(&self.order_pool)
        pool_free(&self.level_pool)
        pool_free(&self.account_pool)

    def usage(self):
        """(used, room) of the pools of orders, levels and accounts: what is used rests."""
        return {
            "orders": (self.order_pool.used, self.order_pool.slots),
            "levels": (self.level_pool.used, self.level_pool.slots),
            "pages": (self.page_pool.used, self.page_pool.slots),
            "accounts": (self.account_pool.used, self.account_pool.slots),
        }

    # --- numbers ---

    @property
    def sequence(self):
        return self.sequence_now

    @sequence.setter
    def sequence(self, value):
        self.sequence_now = checked("sequence", value)

    @property
    def trade_id(self):
        return self.trade_now

    @trade_id.setter
    def trade_id(self, value):
        self.trade_now = checked("trade id", value)

    @property
    def last_price(self):
        return self.price_now

    @last_price.setter
    def last_price(self, value):
        self.price_now = checked("last price", value)

    @property
    def instrument(self):
        return self.rules

    @instrument.setter
    def instrument(self, value):
        self.rules = value
        self.is_hot = self.has_collar = False
        if value is not None and value.mode == ONLINE:
            tick_value = value.tick_value
            self.is_hot = number(<PyObject*>tick_value, &self.tick_value) and self.tick_value > 0
            self.has_collar = value.price_collar != 0

    # --- primitives ---

    def rest(self, order):
        """Put an order at the back of its price level."""
        cdef Resting terms
        fields = (
            order.order_id, order.account, order.price, order.remaining, order.hidden, order.quantity,
            order.maker_fee, order.taker_fee,
        )
        if not (
            number(<PyObject*>fields[0], &terms.order_id) and number(<PyObject*>fields[1], &terms.account)
            and number(<PyObject*>fields[2], &terms.price) and number(<PyObject*>fields[3], &terms.remaining)
            and number(<PyObject*>fields[4], &terms.hidden) and number(<PyObject*>fields[5], &terms.quantity)
            and number(<PyObject*>fields[6], &terms.maker_fee) and number(<PyObject*>fields[7], &terms.taker_fee)
        ):
            raise CorruptState(f"order {order.order_id} has a number of 63 bits or more; no ledger lets that through")
        side, post_only, conditions = order.side, order.post_only, order.conditions
        if side not in (BUY, SELL) or not truth_value(<PyObject*>post_only, &terms.post_only):
            raise CorruptState(f"order {order.order_id} is of no side, or its post_only neither true nor false")
        terms.buys, terms.stp = side == BUY, stp_named(order.stp)
        terms.account_object, terms.price_object = <PyObject*>fields[1], <PyObject*>fields[2]
        terms.conditions, terms.level = <PyObject*>conditions, NULL
        put_down(self, &terms)

    def fill(self, order, quantity, trade_id, price):
        """A trade took ``quantity`` of what a resting order shows, which leaves the book if that was all."""
        cdef Order* found = known(self, order)
        cdef int64_t lots, number_of_trade, ticks
        lots, number_of_trade = checked("quantity", quantity), checked("trade id", trade_id)
        ticks = checked("price", price)
        if not 0 < lots <= found.remaining:
            raise CorruptState(f"trade {trade_id} takes {quantity} lots of order {order.order_id}, which shows fewer")
        fill_order(self, found, lots, number_of_trade, ticks)
        order.remaining -= quantity

    def reduce(self, order, left):
        """Set what is left of a resting order, above 0, without a trade: it keeps its place, and hides less first."""
        cdef Order* found = known(self, order)
        cdef Level* level = found.level
        cdef int64_t remains = checked("quantity", left), hidden = found.hidden
        if remains <= 0:
            raise CorruptState(f"order {order.order_id} is reduced to {left} lots")
        found.quantity += remains - found.remaining - hidden
        if hidden:
            hidden = max(0, remains - found.remaining)
            level.hidden += hidden - found.hidden
            found.hidden = hidden
        set_remaining(found, remains - hidden)
        order.quantity, order.hidden, order.remaining = found.quantity, found.hidden, found.remaining

    def remove(self, order):
        """Take a resting order off the book."""
        take_off(self, known(self, order))
        order.remaining = 0

    # --- views ---

    @property
    def bids(self):
        return make_side(self, &self.buying)

    @property
    def asks(self):
        return make_side(self, &self.selling)

    @property
    def orders(self):
        return make_orders(self)

    @property
    def accounts(self):
        return make_accounts(self)

    def find(self, order_id):
        """A copy of the resting order with this id."""
        cdef Order* order = look_up(self, <PyObject*>order_id)
        return None if order == NULL else order_view(order)

    def best(self, side):
        """The best price of a side, 0 if it is empty."""
        return best_of(side_of(self, side))

    def levels(self, side, depth=0):
        """(price, shown quantity, number of orders) of the best ``depth`` levels (0: all), best first."""
        cdef Side* found = side_of(self, side)
        cdef Py_ssize_t at = found.count, count = depth
        cdef Level* level
        rows = []
        while at and (count <= 0 or len(rows) < count):
            at -= 1
            level = found.levels[at]
            rows.append((<object>level.ticks, level.quantity, level.count))
        return rows

    def orders_of(self, account):
        """Copies of the resting orders of an account (0: of everyone), in no order that may matter."""
        if not account:
            return list(make_orders(self).values())
        cdef int64_t wanted
        if not number(<PyObject*>account, &wanted):
            return []
        cdef Account* owner = <Account*>index_find(&self.accounts_by_id, wanted)
        cdef Order* order = NULL if owner == NULL else owner.first
        found = []
        while order != NULL:
            found.append(order_view(order))
            order = order.older
        return found


# --- what the primitives do ----------------------------------------------------------------------------

cdef int64_t checked(str name, object value) except? -1:
    """An integer that the book can hold. Raises ``CorruptState``."""
    cdef int64_t found
    if not number(<PyObject*>value, &found):
        raise CorruptState(f"{name} {value} has 63 bits or more, which no ledger lets through")
    return found


cdef int stp_named(object name) except -1:
    cdef int at
    for at in range(4):
        if name == <object>STP[at]:
            return at
    raise CorruptState(f'self-trade prevention "{name}" is none of dc, co, cn, cb')


cdef inline Side* side_of(CompiledState book, object side):
    return &book.buying if side == BUY else &book.selling


cdef inline PyObject* name_of(Side* side) noexcept:
    return <PyObject*>BUY if side.sign > 0 else <PyObject*>SELL


cdef inline Order* look_up(CompiledState book, PyObject* order_id) noexcept:
    """The resting order with an id, NULL if there is none."""
    cdef int64_t wanted
    return order_find(&book.pages, wanted) if number(order_id, &wanted) else NULL


cdef Order* known(CompiledState book, object order) except NULL:
    order_id = order.order_id
    cdef Order* found = look_up(book, <PyObject*>order_id)
    if found == NULL:
        raise CorruptState(f"order {order.order_id} does not rest")
    return found


cdef Level* level_for(CompiledState book, Side* side, int64_t price, PyObject* ticks) except NULL:
    """The level of a price, made if it is not there."""
    cdef int64_t key = side.sign * price
    cdef Level* level = side_level(side, key)
    if level != NULL:
        return level
    level = <Level*>pool_take(&book.level_pool)
    if level == NULL:
        raise MemoryError
    if not side_insert(side, key, level):
        pool_give(&book.level_pool, level)
        raise MemoryError
    level.side, level.price, level.ticks = side, price, ticks
    level.first = level.last = NULL
    level.count, level.quantity, level.hidden = 0, 0, 0
    Py_XINCREF(ticks)
    return level


cdef Account* account_for(CompiledState book, int64_t account, PyObject* number_of_account) except NULL:
    """The account of a number, made if none of its orders rests yet."""
    cdef Account* owner = <Account*>index_find(&book.accounts_by_id, account)
    if owner != NULL:
        return owner
    owner = <Account*>pool_take(&book.account_pool)
    if owner == NULL:
        raise MemoryError
    owner.entry.key = account
    if not index_add(&book.accounts_by_id, &owner.entry):
        pool_give(&book.account_pool, owner)
        raise MemoryError
    owner.number, owner.first, owner.count = number_of_account, NULL, 0
    Py_XINCREF(number_of_account)
    return owner


cdef struct Resting:  # an order that is to rest
    int64_t order_id, account, price, remaining, hidden, quantity, maker_fee, taker_fee
    PyObject* account_object
    PyObject* price_object
    PyObject* conditions
    Level* level  # NULL: not looked for yet, or not there yet
    int stp
    bint buys, post_only


cdef int put_down(CompiledState book, Resting* terms) except -1:
    """Put an order at the back of its level. Raises ``CorruptState`` for one that cannot rest."""
    if terms.price <= 0 or terms.remaining <= 0 or terms.hidden < 0:
        raise CorruptState(
            f"order {terms.order_id} rests with {terms.remaining} lots, {terms.hidden} hidden, at {terms.price} ticks"
        )
    if order_find(&book.pages, terms.order_id) != NULL:
        raise CorruptState(f"order {terms.order_id} rests already")
    cdef Account* account = account_for(book, terms.account, terms.account_object)
    cdef Order* order = <Order*>pool_take(&book.order_pool)
    if order == NULL:
        raise MemoryError
    order.order_id = terms.order_id
    if not order_add(&book.pages, &book.page_pool, order):
        pool_give(&book.order_pool, order)
        raise MemoryError
    order.remaining, order.hidden, order.quantity = terms.remaining, terms.hidden, terms.quantity
    order.maker_fee, order.taker_fee, order.conditions = terms.maker_fee, terms.taker_fee, NULL
    order.stp, order.post_only = terms.stp, terms.post_only
    account_push(account, order)
    if terms.level == NULL:
        terms.level = level_for(
            book, &book.buying if terms.buys else &book.selling, terms.price, terms.price_object
        )
    level_append(terms.level, order)
    book.changes += 1
    if terms.conditions != NOTHING:
        order.conditions = terms.conditions
        Py_XINCREF(terms.conditions)
        remember_deadline(book, terms.order_id, <object>terms.conditions)
    return 0


cdef int remember_deadline(CompiledState book, object order_id, object conditions) except -1:
    if conditions.expires:
        book.extras = True
        book.deadlines.add(order_id, conditions.expires)
    return 0


cdef void forget_side(Side* side) noexcept:
    cdef Py_ssize_t at
    cdef Order* order
    for at in range(side.count):
        Py_XDECREF(side.levels[at].ticks)
        order = side.levels[at].first
        while order != NULL:
            Py_XDECREF(order.conditions)
            order = order.behind
    side_free(side)


cdef int take_off(CompiledState book, Order* order) except -1:
    """Take an order off the book. Its struct is free for another from here on."""
    cdef Level* level = order.level
    cdef Account* account = order.account
    if order.conditions != NULL:
        book.deadlines.drop(order.order_id)
        Py_XDECREF(order.conditions)
    level_unlink(level, order)
    if level.first == NULL:
        side_drop(level.side, level.side.sign * level.price)
        Py_XDECREF(level.ticks)
        pool_give(&book.level_pool, level)
    account_unlink(account, order)
    if account.first == NULL:
        index_remove(&book.accounts_by_id, &account.entry)
        Py_XDECREF(account.number)
        pool_give(&book.account_pool, account)
    order_remove(&book.pages, &book.page_pool, order.order_id)
    pool_give(&book.order_pool, order)
    book.changes += 1
    return 0


cdef inline void set_remaining(Order* order, int64_t remaining) noexcept:
    order.level.quantity += remaining - order.remaining
    order.remaining = remaining


cdef int fill_order(CompiledState book, Order* order, int64_t quantity, int64_t trade_id, int64_t price) except -1:
    """A trade, with the order that rests."""
    book.trade_now, book.price_now = trade_id, price
    if book.extras and book.stops.trailing:
        book.stops.follow(price)
    if quantity == order.remaining:
        return take_off(book, order)
    set_remaining(order, order.remaining - quantity)
    return 0


cdef inline object best_of(Side* side):
    return <object>side.levels[side.count - 1].ticks if side.count else 0


cdef object order_view(Order* order):
    """A copy of a resting order, as the rules in Python read it. What they do to the order goes into it, too."""
    order_id, remaining, quantity, hidden = order.order_id, order.remaining, order.quantity, order.hidden
    maker_fee, taker_fee = order.maker_fee, order.taker_fee
    cdef PyObject* conditions = NOTHING if order.conditions == NULL else order.conditions
    cdef PyObject* post_only = YES if order.post_only else NO
    cdef Ref[12] arguments = [
        <PyObject*>order_id, order.account.number, name_of(order.level.side), order.level.ticks,
        <PyObject*>remaining, <PyObject*>maker_fee, <PyObject*>quantity, <PyObject*>taker_fee,
        STP[order.stp], post_only, <PyObject*>hidden, conditions,
    ]
    return make(RESTING_TYPE, arguments, 12)
