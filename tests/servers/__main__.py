"""`python -m tests.servers KIND -- COMMAND ...`: runs a command beside a database server of its own.

KIND is postgres or mongodb. The command finds an empty database's URL in METERCAST_DATABASE_URL and, for the demo, in
METERCAST_DEMO_DATABASE_URL. The server and its data are gone when the command ends, whose exit code this returns.
"""

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.servers.mongodb import MongoServer
    from tests.servers.postgres import PostgresServer

KINDS = ("postgres", "mongodb")
DATABASE = "postgres"  # of PostgreSQL it is there; MongoDB makes any


def main(arguments: list[str]) -> int:
    if len(arguments) < 3 or arguments[0] not in KINDS or arguments[1] != "--":
        sys.stderr.write(f"{__doc__}")
        return 2
    server = _started(arguments[0])
    try:
        environ = {"METERCAST_DATABASE_URL": server.url(DATABASE), "METERCAST_DEMO_DATABASE_URL": server.url(DATABASE)}
        return _run(arguments[2:], os.environ | environ)
    finally:
        server.delete()


def _started(kind: str) -> "PostgresServer | MongoServer":
    """Durable, as in production."""
    if kind == "postgres":
        from tests.servers.postgres import PostgresServer

        return PostgresServer.started(durable=True)
    from tests.servers.mongodb import MongoServer

    return MongoServer.started()


def _run(command: list[str], environ: dict[str, str]) -> int:
    """Signals are the command's: it is waited for, and this process ends after it."""
    child = subprocess.Popen(command, env=environ)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, frame: child.send_signal(received))
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
