"""Imported by the server that forks: all that a worker imports late is here already, and nothing of it is looked at.

Without the last line each child's garbage collector would touch, and so copy, the whole memory of the server.
"""

import gc

import psycopg
import sqlalchemy.dialects.postgresql.psycopg
import uvicorn.protocols.http.httptools_impl
import uvloop

import cli
import cluster.background
import workers.audit.run
import workers.auditor.__main__
import workers.demo.__main__
import workers.engine.__main__
import workers.gateway.__main__
import workers.ledger.__main__
import workers.pusher.__main__
import workers.recovery.run
from shared.connections import connect_async, open_database_async
from shared.settings import Settings
from workers.engine.core import order_book
from workers.gateway.app import create_app, create_gateway

MODULES = (
    cli, cluster.background, psycopg, sqlalchemy.dialects.postgresql.psycopg, uvicorn.protocols.http.httptools_impl,
    uvloop, workers.audit.run, workers.auditor.__main__, workers.demo.__main__, workers.engine.__main__,
    workers.gateway.__main__, workers.ledger.__main__, workers.pusher.__main__, workers.recovery.run,
)  # fmt: skip

order_book("auto")
_nowhere = (connect_async("unix:///nowhere"), open_database_async("postgresql://nobody@/nothing?host=/nowhere"))
create_app(create_gateway(0, Settings(), *_nowhere, "no key at all"))  # it imports plugins, and fills caches
del _nowhere
gc.collect()
gc.freeze()
