"""The reference of the command line, drawn from the commands themselves: `python -m metercast.cli.reference`."""

import inspect
import sys
from collections.abc import Iterator

import click

from metercast.cli.connect import SERVER_OPTIONS
from metercast.cli.main import cli


def render() -> str:
    """Markdown: the options that commands share, then every command with its own."""
    parts = ["## Options of every command that calls the server", _table(_shared())]
    for context in _contexts(click.Context(cli, info_name="metercast")):
        parts += [f"## {context.command_path}", _text(context), f"```text\n{_usage(context)}\n```"]
        own = [each for each in context.command.params if isinstance(each, click.Option) and not _is_shared(each)]
        if own:
            parts.append(_table(own))
        if len(own) < sum(isinstance(each, click.Option) for each in context.command.params):
            parts.append("And the options of every command that calls the server.")
    return "\n\n".join(parts) + "\n"


def _contexts(parent: click.Context) -> Iterator[click.Context]:
    """Every command that does something itself, groups left out."""
    group = parent.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        context = click.Context(command, parent=parent, info_name=name)
        if isinstance(command, click.Group):
            yield from _contexts(context)
        else:
            yield context


def _text(context: click.Context) -> str:
    paragraphs = inspect.cleandoc(context.command.help or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _usage(context: click.Context) -> str:
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def _shared() -> list[click.Option]:
    @click.command()
    def command() -> None: ...

    for option in SERVER_OPTIONS:
        command = option(command)
    return [each for each in command.params if isinstance(each, click.Option)]


def _is_shared(option: click.Option) -> bool:
    return any(option.opts == each.opts and option.help == each.help for each in _shared())


def _table(options: list[click.Option]) -> str:
    rows = [f"| {_names(option)} | {_meaning(option)} |" for option in options]
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def _names(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    if option.is_flag:
        return names
    if isinstance(option.type, click.Choice):
        value = "|".join(option.type.choices)
    else:
        value = option.metavar or ("N" if option.type.name.startswith("integer") else option.type.name.upper())
    return f"{names} `{value}`".replace("|", "\\|")


def _meaning(option: click.Option) -> str:
    meaning = " ".join((option.help or "").split())
    if option.required:
        meaning += " Required."
    if option.envvar:
        meaning += f" Also as `{option.envvar}`."
    if option.show_default and not option.is_flag:
        meaning += f" Default: `{option.default}`."
    return meaning.strip().replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render())
