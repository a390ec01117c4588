"""The store on SQLite against raw sqlite3."""

import tempfile
from pathlib import Path

import uvloop

from bench import sqlite_same_work
from bench.databases import sqlite_files
from bench.figure import Figure
from bench.store_figures import figures


def run() -> list[Figure]:
    with sqlite_files() as databases:
        found = uvloop.run(figures(databases))
    with tempfile.TemporaryDirectory(prefix="metercast-bench-") as name:
        return [*found, *uvloop.run(sqlite_same_work.figures(Path(name)))]
