# The hot path of deciding: a plain order, limit or market, while the instrument is online; a cancel of what rests.
#
# Same rules as placing.py and matching.py, for what most commands are. Whatever else there is, a refusal, a stop, an
# iceberg that is used up, two orders of one account, is decided by the rules in Python, on this state.

from workers.engine.linking import follow
from workers.engine.matching import Taker as PythonTaker
from workers.engine.matching import fillable as python_fillable
from workers.engine.matching import prevent_self_trade, used_up
from workers.engine.placing import finish as python_finish
from workers.engine.placing import hold_to_collar

cdef int64_t ANY_PRICE = -LIMIT
cdef int64_t UNLIMITED = LIMIT

cdef struct Taker:  # as in matching.py; first what its order says
    PyObject* order
    PyObject* id_object
    PyObject* account_object
    PyObject* side
    PyObject* time_in_force
    int64_t order_id, account, price, quantity, maker_fee, taker_fee
    int stp
    bint post_only, is_limit, has_funds, by_funds
    Side* against
    int64_t limit, remaining, funds, total
    Level* level  # where it will rest, if that is known


cdef list plain_place(CompiledState book, object command):
    """What the book does with a plain order. None, and nothing has changed: it is not plain."""
    cdef PyObject* order = <PyObject*>command
    cdef Taker taker
    if not book.is_hot or field(order, PLACE.conditions) != NOTHING or not is_complete(order):
        return None
    taker.order = order
    if not read_numbers(order, &taker) or not is_plain(order, &taker):
        return None
    if order_find(&book.pages, taker.order_id) != NULL or (book.extras and book.is_waiting(<object>taker.id_object)):
        return None
    return enter_plain(book, &taker)


cdef inline bint read_numbers(PyObject* order, Taker* taker) noexcept:
    """Whether all numbers of an order are such as the book can hold."""
    taker.id_object, taker.account_object = field(order, PLACE.order_id), field(order, PLACE.account)
    taker.stp = stp_of(field(order, PLACE.stp))
    return (
        number(taker.id_object, &taker.order_id) and number(taker.account_object, &taker.account)
        and number(field(order, PLACE.price), &taker.price)
        and number(field(order, PLACE.quantity), &taker.quantity)
        and number(field(order, PLACE.funds), &taker.funds)
        and number(field(order, PLACE.maker_fee), &taker.maker_fee)
        and number(field(order, PLACE.taker_fee), &taker.taker_fee)
        and truth_value(field(order, PLACE.post_only), &taker.post_only) and taker.stp >= 0
    )


cdef inline bint is_plain(PyObject* order, Taker* taker) noexcept:
    """Whether an order may come in (``malformed`` in refusal.py) and has a shape of the hot path."""
    cdef PyObject* kind = field(order, PLACE.order_type)
    cdef PyObject* side = field(order, PLACE.side)
    cdef PyObject* force = field(order, PLACE.time_in_force)
    taker.side, taker.time_in_force, taker.has_funds = side, force, taker.funds != 0
    taker.is_limit = kind == <PyObject*>LIMIT_ORDER
    if side != <PyObject*>BUY and side != <PyObject*>SELL:
        return False
    if force != <PyObject*>GTC and force != <PyObject*>IOC and force != <PyObject*>FOK:
        return False
    if taker.is_limit:
        if taker.post_only and force != <PyObject*>GTC:
            return False
        return taker.price > 0 and taker.quantity > 0 and not taker.has_funds
    if kind != <PyObject*>MARKET_ORDER or taker.post_only:
        return False
    return taker.price >= 0 and taker.quantity >= 0 and taker.funds >= 0 and (taker.quantity or taker.funds)


cdef list enter_plain(CompiledState book, Taker* taker):
    """The order comes to the book: it trades, rests, or is done."""
    cdef bint buys = taker.side == <PyObject*>BUY
    cdef Side* against = &book.selling if buys else &book.buying
    cdef int64_t limit = against.sign * taker.price if taker.price else ANY_PRICE
    cdef bint crosses = against.count != 0 and against.keys[against.count - 1] >= limit
    taker.level = NULL
    if not crosses and taker.is_limit:
        taker.level = expected_level(book, taker, &book.buying if buys else &book.selling)
    book.sequence_now += 1
    received = received_event(taker.order, book.sequence_now)
    taker.total = taker.remaining = taker.quantity
    if crosses:
        if taker.post_only:
            return [received, taker_done(book, taker, REJECTED, POST_ONLY)]
        taker.against, taker.limit = against, limit
        if not taker.quantity:
            taker.remaining = UNLIMITED
        taker.by_funds = taker.has_funds and (not buys or not taker.quantity)
        return take_plain(book, taker, [received])
    if taker.time_in_force == <PyObject*>FOK:
        return [received, taker_done(book, taker, CANCELED, FILL_OR_KILL)]
    return [received, leave_plain(book, taker)]


cdef inline Level* expected_level(CompiledState book, Taker* taker, Side* side) noexcept:
    """Where an order will rest, if somebody does already; asks early for what its resting will write to."""
    cdef Account* account = <Account*>index_find(&book.accounts_by_id, taker.account)
    cdef Level* level = side_level(side, side.sign * taker.price)
    if account != NULL:
        fetch(account.first)
    if level != NULL:
        fetch(level.last)
    return level


cdef list take_plain(CompiledState book, Taker* taker, list events):
    """An order that met somebody trades, then it leaves."""
    cdef int64_t own_limit = taker.limit
    stopped = None
    if book.has_collar:
        held = python_taker(book, taker)
        hold_to_collar(book, held)
        taker.limit = held.limit
    if taker.time_in_force == <PyObject*>FOK and not would_fill(book, taker):
        stopped = FILL_OR_KILL
    else:
        stopped = sweep_plain(book, taker, events)
    if not (taker.funds if taker.by_funds else taker.remaining):
        events.append(taker_done(book, taker, FILLED, None))
    elif stopped is None and taker.limit == own_limit:
        events.append(leave_plain(book, taker))
    else:
        held = python_taker(book, taker)
        held.stopped = stopped
        python_finish(book, held, own_limit, events)
    return events


cdef object leave_plain(CompiledState book, Taker* taker):
    """What becomes of an order that finds nobody (more) to trade with."""
    cdef PyObject* order = taker.order
    cdef PyObject* price = field(order, PLACE.price)
    if not taker.is_limit:
        return taker_done(book, taker, CANCELED, NO_LIQUIDITY)
    if taker.time_in_force == <PyObject*>IOC:
        return taker_done(book, taker, CANCELED, IMMEDIATE_OR_CANCEL)
    cdef Resting terms
    terms.order_id, terms.account, terms.price = taker.order_id, taker.account, taker.price
    terms.remaining, terms.hidden, terms.quantity = taker.remaining, 0, taker.total
    terms.maker_fee, terms.taker_fee, terms.conditions = taker.maker_fee, taker.taker_fee, NOTHING
    terms.account_object, terms.price_object = taker.account_object, price
    terms.stp, terms.buys, terms.post_only = taker.stp, taker.side == <PyObject*>BUY, taker.post_only
    terms.level = taker.level
    put_down(book, &terms)
    remaining = <object>field(order, PLACE.quantity) if taker.remaining == taker.quantity else taker.remaining
    book.sequence_now += 1
    return open_event(
        book.sequence_now, taker.id_object, taker.account_object, taker.side, price, <PyObject*>remaining
    )


cdef object taker_done(CompiledState book, Taker* taker, str reason, object cause):
    """The end of an order that does not rest. One by funds alone has no lots left."""
    book.sequence_now += 1
    price = <object>field(taker.order, PLACE.price) if taker.is_limit else 0
    remaining = taker.remaining if taker.quantity else 0
    return done_event(
        book.sequence_now, taker.id_object, taker.account_object, taker.side, reason, <PyObject*>price,
        <PyObject*>remaining, cause,
    )


# --- trade ---------------------------------------------------------------------------------------------

cdef object sweep_plain(CompiledState book, Taker* taker, list events):
    """Trade with the best resting orders, each at its own price, until one of the two has no more to give.

    Returns why it had to stop, if so.
    """
    cdef Side* against = taker.against
    cdef Order* maker
    cdef int64_t wanted, quantity
    cdef Py_ssize_t followed = len(events)
    cdef dict linked = book.lists.of_order
    while taker.remaining and against.count and against.keys[against.count - 1] >= taker.limit:
        maker = against.levels[against.count - 1].first
        wanted = affordable(book, taker, maker.level.price) if taker.has_funds else taker.remaining
        if not wanted:
            return None
        if maker.account.entry.key == taker.account:
            stopped = prevent_plain(book, taker, maker, events)
            if linked:
                followed = follow(book, events, followed)
            if stopped is not None:
                return stopped
            continue
        quantity = min(wanted, maker.remaining)
        taker.remaining -= quantity
        if taker.has_funds:
            taker.funds -= <int64_t>(<int128>quantity * maker.level.price * book.tick_value)
        trade_plain(book, taker, maker, quantity, events)
        if linked:
            followed = follow(book, events, followed)
    return None


cdef inline int64_t affordable(CompiledState book, Taker* taker, int64_t price) noexcept:
    """Lots it may still take at ``price``; funds make whole lots only."""
    cdef int128 lots = taker.funds // (<int128>price * book.tick_value)
    return <int64_t>lots if lots < taker.remaining else taker.remaining


cdef int trade_plain(CompiledState book, Taker* taker, Order* maker, int64_t quantity, list events) except -1:
    """One trade at the maker's price, and the maker's end if that was all of it."""
    cdef Level* level = maker.level
    cdef int64_t price = level.price, trade_id = book.trade_now + 1
    cdef bint is_end = quantity == maker.remaining
    cdef PyObject* side = name_of(level.side)
    book.sequence_now += 1
    sequence, trade, maker_id, lots = book.sequence_now, trade_id, maker.order_id, quantity
    cdef Ref[11] arguments = [
        <PyObject*>sequence, <PyObject*>trade, <PyObject*>maker_id, taker.id_object, maker.account.number,
        taker.account_object, side, level.ticks, <PyObject*>lots, rate(book, maker.maker_fee),
        field(taker.order, PLACE.taker_fee),
    ]
    events.append(make(MATCH_TYPE, arguments, 11))
    if not is_end:
        fill_order(book, maker, quantity, trade_id, price)
        return 0
    if maker.hidden:
        view = order_view(maker)
        fill_order(book, maker, quantity, trade_id, price)
        view.remaining = 0
        used_up(book, view, events)
        return 0
    book.sequence_now += 1
    end = done_event(
        book.sequence_now, <PyObject*>maker_id, maker.account.number, side, FILLED, level.ticks, <PyObject*>ZERO, None
    )
    fill_order(book, maker, quantity, trade_id, price)
    events.append(end)
    return 0


cdef PyObject* rate(CompiledState book, int64_t fee) except NULL:
    """A fee rate as a Python int: mostly that of the trade before."""
    if fee != book.fee or book.fee_object is None:
        book.fee, book.fee_object = fee, fee
    return <PyObject*>book.fee_object


cdef bint would_fill(CompiledState book, Taker* taker) except -1:
    """Whether an order would get all it wants at once (``fillable`` in matching.py, which looks after lists, too)."""
    cdef Side* against = taker.against
    cdef Py_ssize_t at = against.count
    cdef int128 found = 0
    if book.lists.of_order:
        return python_fillable(book, python_taker(book, taker), taker.remaining)
    while found < taker.remaining and at and against.keys[at - 1] >= taker.limit:
        at -= 1
        found += against.levels[at].quantity + against.levels[at].hidden
    if found < taker.remaining and not taker.by_funds:
        return False
    if not taker.has_funds and not meets_itself(book, taker):
        return True
    return fills_one_by_one(book, taker)


cdef bint fills_one_by_one(CompiledState book, Taker* taker) noexcept:
    """The same, order by order: where funds make whole lots only, or some orders are of the same account."""
    cdef int64_t remaining = taker.remaining, funds = taker.funds, quantity
    cdef int128 cost
    cdef bint goes_on = taker.stp == STP_CO, hides
    cdef Side* against = taker.against
    cdef Py_ssize_t at = against.count
    cdef Level* level
    cdef Order* maker
    while at and against.keys[at - 1] >= taker.limit:
        at -= 1
        level = against.levels[at]
        cost = <int128>level.price * book.tick_value
        for hides in range(2 if level.hidden else 1):
            maker = level.first
            while maker != NULL:
                quantity = maker.hidden if hides else maker.remaining
                if quantity and maker.account.entry.key == taker.account:
                    if not goes_on:
                        return False
                elif quantity:
                    quantity = min(quantity, remaining)
                    if taker.has_funds:
                        quantity = min(<int128>quantity, funds // cost)
                        funds -= <int64_t>(quantity * cost)
                    remaining -= quantity
                    if taker.has_funds and funds < cost:
                        return remaining != taker.remaining if taker.by_funds else not remaining
                    if not remaining:
                        return not taker.by_funds
                maker = maker.behind
    return False


cdef bint meets_itself(CompiledState book, Taker* taker) noexcept:
    """Whether orders of the same account rest where it may trade."""
    cdef Account* account = <Account*>index_find(&book.accounts_by_id, taker.account)
    cdef Order* order = NULL if account == NULL else account.first
    while order != NULL:
        if order.level.side == taker.against and order.level.side.sign * order.level.price >= taker.limit:
            return True
        order = order.older
    return False


cdef object prevent_plain(CompiledState book, Taker* taker, Order* maker, list events):
    """Two orders of one account have met. Returns why the arriving one had to stop, if so."""
    held = python_taker(book, taker)
    prevent_self_trade(book, held, order_view(maker), events)
    taker.remaining, taker.funds, taker.total = held.remaining, held.funds, held.total
    return held.stopped


cdef object python_taker(CompiledState book, Taker* taker):
    """The same as the rules in Python know it."""
    return PythonTaker(
        <object>taker.order, make_side(book, taker.against), taker.limit, book.tick_value, taker.remaining,
        taker.funds, taker.by_funds, taker.total,
    )


# --- cancel --------------------------------------------------------------------------------------------

cdef list plain_cancel(CompiledState book, object command):
    """Cancel an order that rests, or say that there is none. None, and nothing has changed: it may wait somewhere."""
    cdef PyObject* cancel = <PyObject*>command
    cdef Order* order = look_up(book, field(cancel, CANCEL_ID))
    if order == NULL:
        return None if book.extras else [CancelRefused(command.order_id, command.account, command.request_id)]
    fetch_around(order)
    book.sequence_now += 1
    remaining = order.remaining + order.hidden
    event = done_event(
        book.sequence_now, field(cancel, CANCEL_ID), order.account.number, name_of(order.level.side),
        CANCELED, order.level.ticks, <PyObject*>remaining, None,
    )
    take_off(book, order)
    return [event]
