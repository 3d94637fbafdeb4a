# What a book is made of in C: orders and price levels from pools, an index from ids to them.
#
# Laws:
#
# 1. A struct is reached only through the book that owns it, never from Python: a view is a copy.
# 2. Nothing here is moved or resized as a whole while orders come and go, so no command waits for it: pools grow by a
#    slab, the index by one bucket. Only a side's two sorted arrays are moved, by 16 bytes a level.
# 3. Quantities of one order are below 2**62 (LIMIT), sums and products of them are 128 bits wide.

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset

cdef extern from *:
    """
    typedef __int128 matchbox_int128;
    """
    ctypedef long long int128 "matchbox_int128"
    void fetch "__builtin_prefetch"(const void* address) nogil

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void** made, size_t alignment, size_t size)

cdef enum:
    SLAB_ITEMS = 512
    LINE = 64  # bytes of a line of the cache
    SEGMENT_BITS = 10
    SEGMENT_BUCKETS = 1 << SEGMENT_BITS


# --- pool: items of one size, used again and again --------------------------------------------------

cdef struct Pool:
    size_t size
    void* slabs  # each begins with the address of the one before
    void* free  # each begins with the address of the next
    Py_ssize_t used
    Py_ssize_t slots


cdef inline bint pool_grow(Pool* pool) noexcept nogil:
    cdef void* slab = NULL
    cdef char* item
    cdef Py_ssize_t at
    if posix_memalign(&slab, LINE, LINE + SLAB_ITEMS * pool.size) != 0:
        return False
    (<void**>slab)[0] = pool.slabs
    pool.slabs = slab
    for at in range(SLAB_ITEMS - 1, -1, -1):
        item = <char*>slab + LINE + at * pool.size
        (<void**>item)[0] = pool.free
        pool.free = item
    pool.slots += SLAB_ITEMS
    return True


# NULL: no memory is left.
cdef inline void* pool_take(Pool* pool) noexcept nogil:
    if pool.free == NULL and not pool_grow(pool):
        return NULL
    cdef void* item = pool.free
    pool.free = (<void**>item)[0]
    pool.used += 1
    return item


cdef inline void pool_give(Pool* pool, void* item) noexcept nogil:
    (<void**>item)[0] = pool.free
    pool.free = item
    pool.used -= 1


cdef inline void pool_free(Pool* pool) noexcept nogil:
    cdef void* before
    while pool.slabs != NULL:
        before = (<void**>pool.slabs)[0]
        free(pool.slabs)
        pool.slabs = before
    pool.free = NULL


# --- index: from a number to what begins with an Entry ------------------------------------------------
# Linear hashing: every time it is full, one more bucket takes half of the entries of another. So it never stops to
# rebuild itself, which a table of a million entries would do for tens of milliseconds.

cdef struct Entry:
    int64_t key
    Entry* chain

cdef struct Index:
    Entry*** segments
    size_t room  # of ``segments``
    size_t buckets
    size_t mask  # the largest 2**n - 1 with 2**n <= buckets
    size_t count


cdef inline bint index_make(Index* index) noexcept nogil:
    index.segments = <Entry***>calloc(1, sizeof(Entry**))
    if index.segments == NULL:
        return False
    index.segments[0] = <Entry**>calloc(SEGMENT_BUCKETS, sizeof(Entry*))
    index.room, index.buckets, index.mask, index.count = 1, SEGMENT_BUCKETS, SEGMENT_BUCKETS - 1, 0
    return index.segments[0] != NULL


cdef inline void index_free(Index* index) noexcept nogil:
    cdef size_t at
    if index.segments != NULL:
        for at in range(index.room):
            free(index.segments[at])
        free(index.segments)
        index.segments = NULL


cdef inline Entry** index_bucket(Index* index, int64_t key) noexcept nogil:
    cdef uint64_t mixed = <uint64_t>key * <uint64_t>0x9E3779B97F4A7C15  # 2**64 over the golden ratio
    mixed ^= mixed >> 32
    cdef size_t at = mixed & (2 * index.mask + 1)
    if at >= index.buckets:
        at = mixed & index.mask
    return &index.segments[at >> SEGMENT_BITS][at & (SEGMENT_BUCKETS - 1)]


cdef inline Entry* index_find(Index* index, int64_t key) noexcept nogil:
    cdef Entry* entry = index_bucket(index, key)[0]
    while entry != NULL and entry.key != key:
        entry = entry.chain
    return entry


cdef inline bint index_grow(Index* index) noexcept nogil:
    cdef size_t segment = index.buckets >> SEGMENT_BITS
    cdef Entry*** segments = index.segments
    cdef size_t at
    if segment == index.room:
        segments = <Entry***>realloc(segments, 2 * index.room * sizeof(Entry**))
        if segments == NULL:
            return False
        index.segments = segments
        for at in range(index.room, 2 * index.room):
            segments[at] = NULL
        index.room *= 2
    if segments[segment] == NULL:
        segments[segment] = <Entry**>calloc(SEGMENT_BUCKETS, sizeof(Entry*))
        if segments[segment] == NULL:
            return False
    at = index.buckets & index.mask
    cdef Entry** split = &segments[at >> SEGMENT_BITS][at & (SEGMENT_BUCKETS - 1)]
    cdef Entry* entry = split[0]
    cdef Entry* behind
    cdef Entry** bucket
    split[0] = NULL
    index.buckets += 1
    while entry != NULL:
        behind = entry.chain
        bucket = index_bucket(index, entry.key)
        entry.chain = bucket[0]
        bucket[0] = entry
        entry = behind
    if index.buckets == 2 * (index.mask + 1):
        index.mask = 2 * index.mask + 1
    return True


# False: no memory is left, and nothing was changed.
cdef inline bint index_add(Index* index, Entry* entry) noexcept nogil:
    if index.count >= index.buckets and not index_grow(index):
        return False
    cdef Entry** bucket = index_bucket(index, entry.key)
    entry.chain = bucket[0]
    bucket[0] = entry
    index.count += 1
    return True


cdef inline void index_remove(Index* index, Entry* entry) noexcept nogil:
    cdef Entry** at = index_bucket(index, entry.key)
    while at[0] != entry:
        at = &at[0].chain
    at[0] = entry.chain
    index.count -= 1


# --- orders, levels, sides ---------------------------------------------------------------------------
# What a PyObject* points to is owned. An order has none but its conditions: to reach an int of long ago costs more
# time than to make it anew.

cdef struct Account:
    Entry entry
    PyObject* number
    Order* first  # the newest
    Py_ssize_t count

cdef struct Order:
    int64_t order_id
    Level* level
    Order* before  # in the level
    Order* behind
    Account* account
    Order* newer  # of the account
    Order* older
    int64_t remaining  # what it shows
    int64_t hidden
    int64_t quantity
    int64_t maker_fee
    int64_t taker_fee
    PyObject* conditions  # NULL: None
    uint8_t stp  # place in STP
    uint8_t post_only

cdef struct Level:
    Side* side
    int64_t price
    PyObject* ticks  # ``price``
    Order* first
    Order* last
    Py_ssize_t count
    int128 quantity  # shown
    int128 hidden

# ``sign`` * price in ascending order, so that the best is last on either side.
cdef struct Side:
    int64_t sign
    Py_ssize_t count
    Py_ssize_t room
    int64_t* keys
    Level** levels


# --- orders by id ---
# A page has the orders with 32 ids of one shard that follow one another, so that a new order is next to the one before.

cdef enum:
    SHARD_BITS = 8  # as in shared/order_id.py
    PAGE_BITS = 5
    PAGE_ORDERS = 1 << PAGE_BITS

cdef struct Page:
    Entry entry
    Py_ssize_t count
    Order* orders[PAGE_ORDERS]


cdef inline int64_t page_key(int64_t order_id) noexcept nogil:
    cdef uint64_t bits = <uint64_t>order_id
    return <int64_t>((bits >> (SHARD_BITS + PAGE_BITS) << SHARD_BITS) | (bits & ((1 << SHARD_BITS) - 1)))


cdef inline Order** page_slot(Page* page, int64_t order_id) noexcept nogil:
    return &page.orders[(<uint64_t>order_id >> SHARD_BITS) & (PAGE_ORDERS - 1)]


cdef inline Order* order_find(Index* pages, int64_t order_id) noexcept nogil:
    cdef Page* page = <Page*>index_find(pages, page_key(order_id))
    return NULL if page == NULL else page_slot(page, order_id)[0]


# False: no memory is left, and nothing was changed.
cdef inline bint order_add(Index* pages, Pool* pool, Order* order) noexcept nogil:
    cdef int64_t key = page_key(order.order_id)
    cdef Page* page = <Page*>index_find(pages, key)
    if page == NULL:
        page = <Page*>pool_take(pool)
        if page == NULL:
            return False
        memset(page, 0, sizeof(Page))
        page.entry.key = key
        if not index_add(pages, &page.entry):
            pool_give(pool, page)
            return False
    page_slot(page, order.order_id)[0] = order
    page.count += 1
    return True


cdef inline void order_remove(Index* pages, Pool* pool, int64_t order_id) noexcept nogil:
    cdef Page* page = <Page*>index_find(pages, page_key(order_id))
    page_slot(page, order_id)[0] = NULL
    page.count -= 1
    if page.count == 0:
        index_remove(pages, &page.entry)
        pool_give(pool, page)


# --- what a side and a level do ---

cdef inline void side_free(Side* side) noexcept nogil:
    free(side.keys)
    free(side.levels)
    side.keys, side.levels, side.count, side.room = NULL, NULL, 0, 0


# How many keys are below ``key``.
cdef inline Py_ssize_t side_below(Side* side, int64_t key) noexcept nogil:
    cdef int64_t* base = side.keys
    cdef Py_ssize_t left = side.count, half
    if left == 0:
        return 0
    while left > 1:
        half = left >> 1
        base += half * (base[half - 1] < key)
        left -= half
    return (base - side.keys) + (base[0] < key)


cdef inline Level* side_level(Side* side, int64_t key) noexcept nogil:
    cdef Py_ssize_t at = side_below(side, key)
    return side.levels[at] if at < side.count and side.keys[at] == key else NULL


# False: no memory is left, and nothing was changed.
cdef inline bint side_insert(Side* side, int64_t key, Level* level) noexcept nogil:
    cdef Py_ssize_t at, room
    cdef int64_t* keys
    cdef Level** levels
    if side.count == side.room:
        room = 2 * side.room if side.room else 64
        keys = <int64_t*>realloc(side.keys, room * sizeof(int64_t))
        if keys == NULL:
            return False
        side.keys = keys
        levels = <Level**>realloc(side.levels, room * sizeof(Level*))
        if levels == NULL:
            return False
        side.levels, side.room = levels, room
    at = side_below(side, key)
    memmove(side.keys + at + 1, side.keys + at, (side.count - at) * sizeof(int64_t))
    memmove(side.levels + at + 1, side.levels + at, (side.count - at) * sizeof(Level*))
    side.keys[at], side.levels[at] = key, level
    side.count += 1
    return True


cdef inline void side_drop(Side* side, int64_t key) noexcept nogil:
    cdef Py_ssize_t at = side_below(side, key)
    side.count -= 1
    memmove(side.keys + at, side.keys + at + 1, (side.count - at) * sizeof(int64_t))
    memmove(side.levels + at, side.levels + at + 1, (side.count - at) * sizeof(Level*))


cdef inline void level_append(Level* level, Order* order) noexcept nogil:
    order.level, order.before, order.behind = level, level.last, NULL
    if level.last == NULL:
        level.first = order
    else:
        level.last.behind = order
    level.last = order
    level.count += 1
    level.quantity += order.remaining
    level.hidden += order.hidden


cdef inline void level_unlink(Level* level, Order* order) noexcept nogil:
    if order.before == NULL:
        level.first = order.behind
    else:
        order.before.behind = order.behind
    if order.behind == NULL:
        level.last = order.before
    else:
        order.behind.before = order.before
    level.count -= 1
    level.quantity -= order.remaining
    level.hidden -= order.hidden


# Asks for what an order's leaving will write to, so that it arrives together, and while something else is done.
cdef inline void fetch_around(Order* order) noexcept nogil:
    fetch(order.before)
    fetch(order.behind)
    fetch(order.newer)
    fetch(order.older)
    fetch(&order.hidden)


cdef inline void account_push(Account* account, Order* order) noexcept nogil:
    order.account, order.newer, order.older = account, NULL, account.first
    if account.first != NULL:
        account.first.newer = order
    account.first = order
    account.count += 1


cdef inline void account_unlink(Account* account, Order* order) noexcept nogil:
    if order.newer == NULL:
        account.first = order.older
    else:
        order.newer.older = order.older
    if order.older != NULL:
        order.older.newer = order.newer
    account.count -= 1
