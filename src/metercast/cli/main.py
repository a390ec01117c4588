"""`metercast`: the way in, and the one place where what goes wrong becomes a line on stderr and an exit code."""

import os
import sys
from collections.abc import Sequence
from typing import ClassVar

import click

from metercast import __version__
from metercast.cli import exits
from metercast.cli.lazy import LazyGroup, Line


class Commands(LazyGroup):
    table: ClassVar[dict[str, Line]] = {
        "serve": Line("metercast.cli.serve:serve", "Run the server."),
        "demo": Line("metercast.cli.demo.command:demo", "Run a whole fleet on this machine, end to end."),
        "simulate": Line("metercast.simulator.command:simulate", "Run simulated DLMS/COSEM meters on TCP."),
        "submit": Line("metercast.cli.submit:submit", "Submit a task."),
        "show": Line("metercast.cli.show:show", "Show a task, its devices or one of them."),
        "results": Line("metercast.cli.results:results", "Write the results of a whole task as NDJSON."),
        "watch": Line("metercast.cli.watch:watch", "Follow a task until it is over."),
        "tasks": Line("metercast.cli.tasks:tasks", "Find tasks."),
        "cancel": Line("metercast.cli.actions:cancel", "Cancel a task."),
        "pause": Line("metercast.cli.actions:pause", "Pause a task."),
        "resume": Line("metercast.cli.actions:resume", "Resume a paused task."),
        "retry-failed": Line("metercast.cli.actions:retry_failed", "Make a new task of a task's failed devices."),
        "devices": Line("metercast.cli.devices:devices", "Register meters."),
        "images": Line("metercast.cli.images:images", "Upload firmware images, list and delete them."),
        "keys": Line("metercast.cli.keys:keys", "Create, list and revoke API keys."),
        "retention": Line("metercast.cli.retention:retention", "Show what is kept for how long, or delete now."),
        "migrate-store": Line("metercast.cli.migrate_store:migrate_store", "Copy everything between databases."),
        "commands": Line("metercast.cli.commands:commands", "List the command types, or show one's parameters."),
        "traces": Line("metercast.cli.traces:traces", "Trace sessions with meters."),
        "probe": Line("metercast.cli.probe:probe", "Find out what a meter is, read-only."),
        "profiles": Line("metercast.cli.profiles:profiles", "List, show and check meter profiles."),
        "decode": Line("metercast.cli.decode:decode", "Make DLMS frames, APDUs and captures readable."),
    }


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="metercast", message="%(prog)s %(version)s")
def cli() -> None:
    """Drives one DLMS/COSEM command to every meter of a fleet and always knows what each meter did."""


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code. Whatever goes wrong is one line on stderr, never a traceback."""
    try:
        result = cli.main(list(arguments), prog_name="metercast", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone: nothing more can be said, not even by the interpreter at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.FAILED
    except Exception as error:
        return exits.report(error)
    return result if isinstance(result, int) else exits.OK
