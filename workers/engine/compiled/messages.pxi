# Messages in C: read by the offsets of their fields, made by calling their types with positional arguments.

from cpython.object cimport PyTypeObject
from cpython.ref cimport Py_XDECREF, Py_XINCREF

from shared.errors import CorruptState, RejectReason
from shared.instrument import Instrument
from shared.messages import Cancel, CancelRefused, Done, Match, Open, Place, Received
from workers.engine.levels import RestingOrder

cdef extern from *:
    """
    #define MATCHBOX_FIELD(object, offset) (*(PyObject **)((char *)(object) + (offset)))

    /* Where instances of a class with slots have a field; -1: not in a slot. */
    static Py_ssize_t matchbox_offset(PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) return -1;
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == Py_T_OBJECT_EX ? member->offset : -1;
    }

    #define MATCHBOX_LIMIT ((int64_t)1 << 62)

    /* Whether an object is an int of which two make 64 bits together, and which. */
    static inline int matchbox_number(PyObject *value, int64_t *found) {
        int overflow = 0;
        if (value == NULL || !PyLong_CheckExact(value)) return 0;
        if (PyUnstable_Long_IsCompact((PyLongObject *)value)) {
            *found = PyUnstable_Long_CompactValue((PyLongObject *)value);
            return 1;
        }
        *found = PyLong_AsLongLongAndOverflow(value, &overflow);
        return !overflow && -MATCHBOX_LIMIT < *found && *found < MATCHBOX_LIMIT;
    }

    /* What calling the type does, without what a call of anything has to find out. */
    static inline PyObject *matchbox_make(PyObject *type, PyObject **arguments, size_t count) {
        return ((PyTypeObject *)type)->tp_vectorcall(type, arguments, count, NULL);
    }
    """
    PyObject* field "MATCHBOX_FIELD"(PyObject* message, Py_ssize_t offset)
    Py_ssize_t matchbox_offset(object descriptor)
    int64_t LIMIT "MATCHBOX_LIMIT"
    bint number "matchbox_number"(PyObject* value, int64_t* found)
    object make "matchbox_make"(PyObject* type, PyObject** arguments, size_t count)

ctypedef PyObject* Ref

cdef extern from "Python.h":
    void* PyVectorcall_Function(PyObject* callable)
    PyTypeObject* Py_TYPE(object value)
    PyObject* Py_None
    PyObject* Py_True
    PyObject* Py_False

cdef Ref NOTHING = Py_None, YES = Py_True, NO = Py_False
cdef str BUY = "buy", SELL = "sell", LIMIT_ORDER = "limit", MARKET_ORDER = "market"
cdef str GTC = "GTC", IOC = "IOC", FOK = "FOK"
cdef str FILLED = "filled", CANCELED = "canceled", REJECTED = "rejected", ONLINE = "online"
cdef str DC = "dc", CO = "co", CN = "cn", CB = "cb"
cdef enum:
    STP_CO = 1  # place in STP
cdef Ref[4] STP = [<PyObject*>DC, <PyObject*>CO, <PyObject*>CN, <PyObject*>CB]
cdef object ZERO = 0
cdef object NO_LIQUIDITY = RejectReason.NO_LIQUIDITY
cdef object IMMEDIATE_OR_CANCEL = RejectReason.IMMEDIATE_OR_CANCEL
cdef object FILL_OR_KILL = RejectReason.FILL_OR_KILL
cdef object POST_ONLY = RejectReason.POST_ONLY


cdef Py_ssize_t offset_of(object message, str name) except -1:
    """Where a message has a field: msgspec gives each a slot, which its member descriptor describes."""
    cdef Py_ssize_t found = matchbox_offset(message.__dict__[name])
    if found < 0:
        raise ImportError(f"{message.__name__}.{name} is not in a slot; use the order book in Python")
    return found


cdef struct OrderFields:  # of a ``Place``, or of a ``Received``
    Py_ssize_t order_id, account, side, order_type, price, quantity, funds, time_in_force, post_only, stp
    Py_ssize_t maker_fee, taker_fee, client_id, conditions


cdef OrderFields order_fields(object message) except *:
    cdef OrderFields at
    at.order_id, at.account = offset_of(message, "order_id"), offset_of(message, "account")
    at.side, at.order_type = offset_of(message, "side"), offset_of(message, "order_type")
    at.price, at.quantity = offset_of(message, "price"), offset_of(message, "quantity")
    at.funds, at.time_in_force = offset_of(message, "funds"), offset_of(message, "time_in_force")
    at.post_only, at.stp = offset_of(message, "post_only"), offset_of(message, "stp")
    at.maker_fee, at.taker_fee = offset_of(message, "maker_fee"), offset_of(message, "taker_fee")
    at.client_id, at.conditions = offset_of(message, "client_id"), offset_of(message, "conditions")
    return at


cdef OrderFields PLACE = order_fields(Place)
cdef OrderFields RECEIVED = order_fields(Received)
cdef Py_ssize_t PLACE_TIME = offset_of(Place, "time")
cdef Py_ssize_t CANCEL_TIME = offset_of(Cancel, "time"), CANCEL_ID = offset_of(Cancel, "order_id")
cdef Py_ssize_t RECEIVED_SEQUENCE = offset_of(Received, "sequence")
cdef Py_ssize_t OPEN_SEQUENCE = offset_of(Open, "sequence"), OPEN_ID = offset_of(Open, "order_id")
cdef Py_ssize_t OPEN_REMAINING = offset_of(Open, "remaining"), OPEN_HIDDEN = offset_of(Open, "hidden")
cdef Py_ssize_t OPEN_PRICE = offset_of(Open, "price"), OPEN_SIDE = offset_of(Open, "side")
cdef Py_ssize_t OPEN_ACCOUNT = offset_of(Open, "account")
cdef Py_ssize_t MATCH_SEQUENCE = offset_of(Match, "sequence"), MATCH_TRADE = offset_of(Match, "trade_id")
cdef Py_ssize_t MATCH_MAKER = offset_of(Match, "maker_order_id"), MATCH_PRICE = offset_of(Match, "price")
cdef Py_ssize_t MATCH_QUANTITY = offset_of(Match, "quantity"), MATCH_AUCTION = offset_of(Match, "auction")
cdef Py_ssize_t DONE_SEQUENCE = offset_of(Done, "sequence"), DONE_ID = offset_of(Done, "order_id")

cdef enum:
    RECEIVED_FIELDS = 15

cdef Py_ssize_t[RECEIVED_FIELDS] RECEIVED_FROM  # offsets in a ``Place`` of what its ``Received`` repeats


cdef void know_fields(object message, str names) except *:
    """Events are made by position. And a field that is not known here could change what a plain order is."""
    if message.__struct_fields__ != tuple(names.split()):
        raise ImportError(f"{message.__name__} has other fields than the compiled order book knows")
    if PyVectorcall_Function(<PyObject*>message) == NULL:
        raise ImportError(f"{message.__name__} is not made as it was when the compiled order book was written")


cdef void know_messages() except *:
    """Raises ``ImportError`` if the messages have changed; then the order book in Python runs."""
    order = "side order_type price quantity funds time_in_force post_only stp maker_fee taker_fee client_id conditions"
    know_fields(Place, f"order_id account time {order}")
    know_fields(Received, f"sequence order_id account {order}")
    know_fields(Cancel, "order_id account time request_id")
    know_fields(CancelRefused, "order_id account request_id")
    know_fields(Open, "sequence order_id account side price remaining hidden")
    know_fields(Done, "sequence order_id account side reason price remaining cause")
    know_fields(Match, (
        "sequence trade_id maker_order_id taker_order_id maker_account taker_account side price quantity maker_fee "
        "taker_fee auction"
    ))
    know_fields(RestingOrder, (
        "order_id account side price remaining maker_fee quantity taker_fee stp post_only hidden conditions"
    ))
    know_fields(Instrument, (
        "symbol tick lot base_scale quote_scale lot_value tick_value mode kind maker_fee taker_fee min_quantity "
        "max_quantity max_price collar price_collar mode_reason"
    ))
    for at, name in enumerate(Received.__struct_fields__):
        if at:
            RECEIVED_FROM[at] = offset_of(Place, name)

know_messages()


cdef inline bint truth_value(PyObject* value, bint* found) noexcept:
    """Whether an object is a bool, and which."""
    found[0] = value == YES
    return value == YES or value == NO


cdef inline int stp_of(PyObject* name) noexcept:
    """The place of a name in STP, -1 if it is another object. What is decoded are these ones."""
    cdef int at
    for at in range(4):
        if name == STP[at]:
            return at
    return -1


# The types as C variables: each is a global of this module, too, but looking one up costs as much as making an event.
cdef Ref PLACE_TYPE = <PyObject*>Place, CANCEL_TYPE = <PyObject*>Cancel, RECEIVED_TYPE = <PyObject*>Received
cdef Ref OPEN_TYPE = <PyObject*>Open, MATCH_TYPE = <PyObject*>Match, DONE_TYPE = <PyObject*>Done
cdef Ref RESTING_TYPE = <PyObject*>RestingOrder


# --- events ------------------------------------------------------------------------------------------

cdef object received_event(PyObject* place, object sequence):
    """``Received`` of a ``Place`` that is complete."""
    cdef Ref[RECEIVED_FIELDS] arguments
    cdef Py_ssize_t at
    arguments[0] = <PyObject*>sequence
    for at in range(1, RECEIVED_FIELDS):
        arguments[at] = field(place, RECEIVED_FROM[at])
    return make(RECEIVED_TYPE, arguments, RECEIVED_FIELDS)


cdef bint is_complete(PyObject* place) noexcept:
    """Whether each field of a ``Place`` has a value; one made by hand may lack some."""
    cdef Py_ssize_t at
    for at in range(1, RECEIVED_FIELDS):
        if field(place, RECEIVED_FROM[at]) == NULL:
            return False
    return True


cdef inline object open_event(
    object sequence, PyObject* order_id, PyObject* account, PyObject* side, PyObject* price, PyObject* remaining
):
    cdef Ref[6] arguments = [<PyObject*>sequence, order_id, account, side, price, remaining]
    return make(OPEN_TYPE, arguments, 6)


cdef inline object done_event(
    object sequence, PyObject* order_id, PyObject* account, PyObject* side, str reason, PyObject* price,
    PyObject* remaining, object cause
):
    cdef Ref[8] arguments = [
        <PyObject*>sequence, order_id, account, side, <PyObject*>reason, price, remaining, <PyObject*>cause,
    ]
    return make(DONE_TYPE, arguments, 8)
