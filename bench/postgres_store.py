"""The store on PostgreSQL against raw asyncpg."""

import uvloop

from bench.databases import postgres_databases
from bench.figure import Figure
from bench.store_figures import figures


def run() -> list[Figure]:
    with postgres_databases() as databases:
        return uvloop.run(figures(databases))
