"""`python -m tests.servers KIND -- COMMAND ...`: runs a command beside a database server of its own.

KIND is postgres or mongodb. The command finds an empty database's URL in METERCAST_DATABASE_URL and, for the demo, in
METERCAST_DEMO_DATABASE_URL. The server and its data are gone when the command ends, whose exit code this returns.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

KINDS = ("postgres", "mongodb")


def main(arguments: list[str]) -> int:
    if len(arguments) < 3 or arguments[0] not in KINDS or arguments[1] != "--":
        sys.stderr.write(f"{__doc__}")
        return 2
    with tempfile.TemporaryDirectory(prefix="metercast-server-") as name:
        server = _start(arguments[0], Path(name))
        try:
            url = server.new_database()
            environ = os.environ | {"METERCAST_DATABASE_URL": url, "METERCAST_DEMO_DATABASE_URL": url}
            return _run(arguments[2:], environ)
        finally:
            server.stop()


def _start(kind: str, directory: Path) -> Any:
    if kind == "postgres":
        from tests.servers.postgres import PostgresServer

        return PostgresServer.start(directory)
    from tests.servers.mongodb import MongoServer

    return MongoServer.start(directory)


def _run(command: list[str], environ: dict[str, str]) -> int:
    """Signals are the command's: it is waited for, and this process ends after it."""
    child = subprocess.Popen(command, env=environ)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, frame: child.send_signal(received))
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
