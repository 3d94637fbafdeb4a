"""Pages, newest first, with cursors either way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import column, create_engine, select, table, text

from workers.gateway.errors import ApiError
from workers.gateway.paging import Page, cursor_of


def fetch(items, page):
    """What ``select`` would bring: one more than the page, in its direction."""
    found = sorted((item for item in items if page.holds(item)), reverse=not page.ascending)
    return page.cut(found[: page.limit + 1], lambda item: item)


ITEMS = st.sets(st.integers(1, 200), max_size=60)


@given(ITEMS, st.integers(1, 20))
def test_paging_back_meets_every_item_once(items, limit):
    """Following CB-AFTER from the newest page ends with a page without it, and misses and repeats nothing."""
    seen, after = [], 0
    while True:
        cut = fetch(items, Page(limit, after=after))
        seen += cut.items
        after = cut.after
        if "CB-AFTER" not in cut.headers():
            break
    assert seen == sorted(items, reverse=True)


@given(ITEMS, st.integers(1, 20))
def test_paging_forward_meets_every_item_once(items, limit):
    """Following CB-BEFORE from the oldest item on meets every newer one, page by page."""
    if not items:
        return
    seen: list[int] = []
    before = min(items)
    while cut := fetch(items, Page(limit, before=before)).items:
        seen = cut + seen
        before = cut[0]
    assert seen == sorted(items - {min(items)}, reverse=True)


@given(ITEMS, st.integers(1, 9), st.integers(0, 200), st.integers(0, 200))
def test_sql_and_memory_cut_alike(items, limit, before, after):
    """A page of a table holds what a page of a list holds."""
    page = Page(limit, before, after)
    numbers = table("numbers", column("n"))
    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("CREATE TABLE numbers (n INTEGER)"))
        for item in items:
            connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": item})
        rows = connection.execute(page.select(select(numbers.c.n), numbers.c.n)).scalars().all()
    assert page.cut(rows, lambda item: item) == fetch(items, page)


@pytest.mark.parametrize("word", ["x", "-1", "1.5", "\u00b2", "9" * 30, "1 "])
def test_a_cursor_that_is_none_is_refused(word):
    """Cursors come from headers; anything else is a 400 that says so."""
    with pytest.raises(ApiError, match="CB-BEFORE"):
        cursor_of(word, "before")
