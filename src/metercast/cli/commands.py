"""The command `commands`: what a task can ask of meters."""

from typing import Any

import click

from metercast.cli.connect import json_option
from metercast.cli.output import write, write_json, write_table


@click.command()
@click.argument("name", metavar="TYPE", required=False)
@json_option
def commands(*, name: str | None, as_json: bool) -> None:
    """List the command types, or show the parameters of one as a JSON schema."""
    from metercast.commands.registry import COMMANDS, command_type

    if name is not None:
        write_json(_schema(command_type(name).parameters))
        return
    found = sorted(COMMANDS.values(), key=lambda command: command.name)
    if as_json:
        listed = [
            {
                "name": each.name,
                "summary": each.summary,
                # Of a command that is made up of others these are its members', and null here.
                "conflictGroup": None if each.members else each.traits.conflict_group.value,
                "resend": None if each.members else each.traits.resend.value,
                "expiresAfterSeconds": None if each.members else int(each.traits.expires_after.total_seconds()),
            }
            for each in found
        ]
        write_json({"commands": listed})
        return
    write_table(("command", "what it does"), ((each.name, each.summary) for each in found))
    write("\nThe parameters of one: metercast commands TYPE")


def _schema(parameters: type[Any]) -> dict[str, Any]:
    import msgspec

    return msgspec.json.schema(parameters)
