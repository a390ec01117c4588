"""docs/cli.md is held to the commands, and the help of `metercast` to the commands' own."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.cli.support import METERCAST, answers, environment

from metercast.cli import reference
from metercast.cli.main import Commands, cli
from metercast.config import SETTINGS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "cli.md").read_text()


def commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", each) for inner, each in command.commands.items()]
        else:
            found.append((name, command))
    return found


def test_the_page_is_what_the_commands_say() -> None:
    _, marker, drawn = PAGE.partition("to the commands. -->\n\n")
    assert marker
    assert drawn == reference.render(), "make it again: python -m metercast.cli.reference"


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_on_the_page(name: str, command: click.Command) -> None:
    assert command.help
    _, heading, rest = PAGE.partition(f"## metercast {name}\n")
    assert heading
    section = rest.partition("\n## ")[0]
    shared = PAGE.partition("## Options of every command that calls the server\n")[2].partition("\n## ")[0]
    if "And the options of every command that calls the server." in section:
        section += shared
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for option in parameter.opts:
                assert f"`{option}`" in section


def test_the_groups_table_says_what_the_commands_say() -> None:
    context = click.Context(cli)
    for name, line in Commands.table.items():
        command = cli.get_command(context, name)
        assert command is not None
        help_text = command.help or ""
        # The table is a summary: its first word is the one that the command's own help begins with.
        assert line.summary.endswith(".")
        assert line.summary.split()[0].rstrip(".,:") == help_text.split()[0].rstrip(".,:"), name


def test_every_setting_but_the_secret_ones_is_an_option_of_serve(capsys: pytest.CaptureFixture[str]) -> None:
    text = answers(capsys, "serve", "--help")
    options = {setting.option for setting in SETTINGS if setting.option is not None}
    assert {"--data-dir", "--host", "--port", "--database-url"} <= options
    for option in options:
        assert option in text
    secrets = [setting for setting in SETTINGS if setting.option is None]
    assert [setting.variable for setting in secrets] == ["METERCAST_MASTER_KEY"]
    assert "--master-key " not in text


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from metercast.cli.main import run; run(['--help']);"
        "heavy = {'httpx', 'litestar', 'rich', 'asyncio', 'cryptography', 'msgspec', 'metercast.config'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "retry-failed" in done.stdout


def test_the_module_and_the_script_are_the_same() -> None:
    done = subprocess.run([*METERCAST, "--version"], capture_output=True, text=True, check=False, env=environment())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("metercast 0.")
