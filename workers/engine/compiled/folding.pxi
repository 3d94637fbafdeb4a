# The hot path of folding: a plain order that comes, rests, is filled and ends. The rest is folded in Python
# (folding.py), on this state; nothing has changed when it is asked.

cdef bint follows(CompiledState book, PyObject* sequence) noexcept:
    """Whether an event comes next."""
    cdef int64_t found
    return number(sequence, &found) and found == book.sequence_now + 1


cdef bint fold_received(CompiledState book, object event) except -1:
    """Keep the order at hand until its ``open`` or ``done``."""
    cdef PyObject* received = <PyObject*>event
    if not follows(book, field(received, RECEIVED_SEQUENCE)):
        return False
    cdef PyObject* order_id = field(received, RECEIVED.order_id)
    if order_id == NULL or (book.extras and book.is_waiting(<object>order_id)):
        return False
    book.sequence_now += 1
    book.arriving, book.prevented = event, 0
    return True


cdef bint fold_open(CompiledState book, object event) except -1:
    """Rest what is left of a plain arriving order."""
    cdef PyObject* opened = <PyObject*>event
    cdef PyObject* came = <PyObject*>book.arriving
    if Py_TYPE(book.arriving) != <PyTypeObject*>RECEIVED_TYPE or book.refreshing:
        return False
    if not follows(book, field(opened, OPEN_SEQUENCE)):
        return False
    cdef Resting terms
    cdef int64_t came_id, prevented
    terms.account_object, terms.price_object = field(opened, OPEN_ACCOUNT), field(opened, OPEN_PRICE)
    terms.stp, terms.conditions = stp_of(field(came, RECEIVED.stp)), field(came, RECEIVED.conditions)
    terms.buys = field(opened, OPEN_SIDE) == <PyObject*>BUY
    if not (
        number(field(opened, OPEN_ID), &terms.order_id) and number(field(came, RECEIVED.order_id), &came_id)
        and number(terms.account_object, &terms.account) and number(terms.price_object, &terms.price)
        and number(field(opened, OPEN_REMAINING), &terms.remaining)
        and number(field(opened, OPEN_HIDDEN), &terms.hidden)
        and number(field(came, RECEIVED.quantity), &terms.quantity) and number(<PyObject*>book.prevented, &prevented)
        and number(field(came, RECEIVED.maker_fee), &terms.maker_fee)
        and number(field(came, RECEIVED.taker_fee), &terms.taker_fee)
        and truth_value(field(came, RECEIVED.post_only), &terms.post_only)
        and came_id == terms.order_id and terms.stp >= 0 and terms.conditions != NULL
        and (terms.buys or field(opened, OPEN_SIDE) == <PyObject*>SELL)
    ):
        return False
    terms.quantity -= prevented
    terms.level = NULL
    put_down(book, &terms)
    book.sequence_now += 1
    book.arriving = None
    return True


cdef bint fold_match(CompiledState book, object event) except -1:
    """Fill a maker that was met by an arriving order."""
    cdef PyObject* match = <PyObject*>event
    cdef int64_t quantity, trade_id, price
    if field(match, MATCH_AUCTION) != NO or not follows(book, field(match, MATCH_SEQUENCE)):
        return False
    cdef Order* maker = look_up(book, field(match, MATCH_MAKER))
    if maker == NULL or maker.hidden or not (
        number(field(match, MATCH_QUANTITY), &quantity) and number(field(match, MATCH_TRADE), &trade_id)
        and number(field(match, MATCH_PRICE), &price) and 0 < quantity <= maker.remaining
    ):
        return False
    book.sequence_now += 1
    fill_order(book, maker, quantity, trade_id, price)
    return True


cdef bint fold_done(CompiledState book, object event) except -1:
    """Remove a resting order, unless its last fill has; or see the arriving one off."""
    cdef PyObject* done = <PyObject*>event
    cdef PyObject* id_object = field(done, DONE_ID)
    if id_object == NULL or not follows(book, field(done, DONE_SEQUENCE)):
        return False
    if book.extras and (<object>id_object in book.lists.of_order or book.is_waiting(<object>id_object)):
        return False
    cdef Order* order = look_up(book, id_object)
    book.sequence_now += 1
    if order != NULL:
        take_off(book, order)
    elif book.arriving is not None and book.arriving.order_id == <object>id_object:
        book.arriving = None
    return True
