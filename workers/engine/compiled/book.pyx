# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: binding=False, always_allow_keywords=False, infer_types=False
"""The order book with its resting orders in C: the same as ``workers.engine.book.OrderBook``, several times faster.

What is here is the state (state.pxi, its structs in structs.pxd), the primitives and views of ``BookState`` on it, and
the hot path of deciding and folding (deciding.pxi, folding.pxi). All other rules are the ones in Python, which run on
this state through the same primitives and views: no rule for a stop, a list or an auction is written twice.

Both books give the same events and the same ``dump()``, so they can be exchanged at any moment.
"""

from workers.engine.compiled.structs cimport *

include "messages.pxi"
include "state.pxi"
include "views.pxi"
include "deciding.pxi"
include "folding.pxi"

from workers.engine import aftermath, folding
from workers.engine.book import OrderBook as PythonOrderBook
from workers.engine.expiry import Deadlines
from workers.engine.lists import Lists
from workers.engine.stops import Stops


cdef class Deciding(CompiledState):
    """``apply`` and ``fold``: the hot path, and the way to the rules in Python."""

    def apply(self, command):
        """Do what the command asks and say what happened: at least one event, refusals included."""
        events = plain_among_extras(self, command) if self.extras else plain(self, command)
        return PythonOrderBook.apply(self, command) if events is None else events

    def decide(self, command):
        """What the command itself does; not what has to come before or behind it."""
        events = plain(self, command)
        return PythonOrderBook.decide(self, command) if events is None else events

    def fold(self, event):
        """Follow one recorded event. Raises ``CorruptState`` if it does not follow on this state."""
        fold_event(self, event)

    def fold_entry(self, entry):
        """Follow all that one command did."""
        self.time = entry.time
        for event in entry.events:
            fold_event(self, event)


cdef list plain(CompiledState book, object command):
    """What a plain command does; None, and nothing but the time has changed: it is not plain."""
    cdef PyTypeObject* kind = Py_TYPE(command)
    cdef bint is_place = kind == <PyTypeObject*>PLACE_TYPE
    if not is_place and kind != <PyTypeObject*>CANCEL_TYPE:
        return None
    cdef PyObject* time = field(<PyObject*>command, PLACE_TIME if is_place else CANCEL_TIME)
    if time == NULL:
        return None
    if <object>time > book.time:
        book.time = <object>time
    return plain_place(book, command) if is_place else plain_cancel(book, command)


cdef list plain_among_extras(CompiledState book, object command):
    """The same while there are stops or deadlines, if nothing is due and no lists are there."""
    heap = book.deadlines.heap
    if book.lists.of_order or not book.is_hot:
        return None
    if heap and (heap[0][0] <= command.time or heap[0][0] <= book.time):
        return None
    cdef int64_t trade_id = book.trade_now
    book.reference = book.price_now
    events = plain(book, command)
    if events is not None and book.trade_now != trade_id:
        aftermath.settle(book, events)
    book.reference = -1
    if events is not None:
        book.extras = bool(book.stops.orders) or bool(book.deadlines.heap)
    return events


cdef int fold_event(CompiledState book, object event) except -1:
    cdef PyTypeObject* kind = Py_TYPE(event)
    cdef bint is_done = False
    if kind == <PyTypeObject*>RECEIVED_TYPE:
        is_done = fold_received(book, event)
    elif kind == <PyTypeObject*>OPEN_TYPE:
        is_done = fold_open(book, event)
    elif kind == <PyTypeObject*>MATCH_TYPE:
        is_done = fold_match(book, event)
    elif kind == <PyTypeObject*>DONE_TYPE:
        is_done = fold_done(book, event)
    if not is_done:
        folding.fold(book, event)
    return 0


class OrderBook(Deciding, PythonOrderBook):
    """One instrument's book. See ``BookState`` for its attributes and views."""

    core = "compiled"

    def __init__(self):
        self.instrument = None
        self.is_online = False
        self.time = 0
        self.stops = Stops()
        self.lists = Lists()
        self.deadlines = Deadlines()
        self.queue = []
        self.extras = False
        self.reference = -1
        self.arriving = None
        self.prevented = 0
        self.refreshing = {}
