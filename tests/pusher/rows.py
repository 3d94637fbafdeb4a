"""Rows of PostgreSQL."""

import psycopg
from psycopg.rows import dict_row


def rows(url, query, *arguments):
    """All rows of a query, as dicts."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query, arguments).fetchall()
