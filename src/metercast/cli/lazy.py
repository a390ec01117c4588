"""A group of commands that imports a command only when it is called."""

from importlib import import_module
from typing import ClassVar, NamedTuple

import click


class Line(NamedTuple):
    """Where a command is, as `module:attribute`, and its help in one line."""

    target: str
    summary: str


class LazyGroup(click.Group):
    """The commands of `table`, in its order. The help of the group imports none of them."""

    table: ClassVar[dict[str, Line]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        line = self.table.get(cmd_name)
        if line is None:
            return None
        module, _, attribute = line.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line.summary) for name, line in self.table.items()])
