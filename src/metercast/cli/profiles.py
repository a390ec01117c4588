"""The commands `profiles ...`: meter profiles, looked at and checked without a server."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from metercast.cli.connect import json_option
from metercast.cli.exits import CommandFailed
from metercast.cli.output import aligned, write, write_json, write_table

if TYPE_CHECKING:
    from metercast.profiles.collection import Loaded, Profiles

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _directory_option(command: _Command) -> _Command:
    return click.option(
        "--profiles-dir",
        "directory",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="METERCAST_PROFILES_DIR",
        help="Directory of your own profiles.",
    )(command)


@click.group()
def profiles() -> None:
    """List, show and check meter profiles: what differs per model."""


@profiles.command("list")
@_directory_option
@json_option
def list_profiles(*, directory: Path | None, as_json: bool) -> None:
    """List the profiles that come with Metercast and your own, with whom each extends."""
    found = _load(directory)
    rows = [found.find(name) for name in found]
    if as_json:
        listed = [
            {
                "name": each.profile.name,
                "extends": _extends(each),
                "description": each.profile.description,
                "file": each.source,
            }
            for each in rows
        ]
        write_json({"profiles": listed})
        return
    table = ((each.profile.name, _extends(each), each.profile.description, each.source) for each in rows)
    write_table(("profile", "extends", "for", "file"), table)


@profiles.command("show")
@click.argument("name")
@_directory_option
@json_option
def show_profile(*, name: str, directory: Path | None, as_json: bool) -> None:
    """Show every value of a profile, and the file that it comes from."""
    from metercast.profiles.errors import UnknownProfile

    try:
        loaded = _load(directory).find(name)
    except UnknownProfile as error:
        raise CommandFailed(f"{name!r}: {error}") from None
    _write(loaded, as_json)


@profiles.command("check")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_directory_option
@json_option
def check_profile(*, file: Path, directory: Path | None, as_json: bool) -> None:
    """Check one file as the server does when it starts, and show what it says that the one it extends does not.

    Profiles that it extends are looked for in its own directory too, or in --profiles-dir.
    """
    from metercast.profiles.collection import load_one
    from metercast.profiles.errors import ProfileError
    from metercast.profiles.files import read_file

    try:
        loaded = load_one(read_file(file, str(file)), directory or file.absolute().parent)
    except ProfileError as error:
        raise CommandFailed(str(error)) from None
    if as_json:
        _write(loaded, as_json)
        return
    own = {key: value for key, value in _values(loaded) if loaded.merged.sources[key] == loaded.source}
    write(f"{file}: good. It extends {_extends(loaded)}; values of its own: {len(own)}")
    for line in aligned(list(own.items())) if own else ():
        write(line)


def _write(loaded: "Loaded", as_json: bool) -> None:
    values = list(_values(loaded, as_toml=not as_json))
    sources = loaded.merged.sources
    if as_json:
        shown = {key: {"value": value, "file": sources[key]} for key, value in values}
        write_json({"name": loaded.profile.name, "chain": list(loaded.merged.chain), "values": shown})
        return
    write(f"{loaded.profile.name}: {loaded.profile.description}")
    write(f"chain: {' < '.join(loaded.merged.chain)}\n")
    write_table(("field", "file", "value"), ((key, sources[key], value) for key, value in values))


def _values(loaded: "Loaded", *, as_toml: bool = True) -> list[tuple[str, Any]]:
    from metercast.profiles.inheritance import leaves
    from metercast.profiles.toml_text import value_text

    return [(key, value_text(value) if as_toml else value) for key, value in leaves(loaded.merged.values)]


def _extends(loaded: "Loaded") -> str | None:
    return loaded.merged.chain[1] if len(loaded.merged.chain) > 1 else None


def _load(directory: Path | None) -> "Profiles":
    from metercast.profiles.collection import Profiles
    from metercast.profiles.errors import ProfileError

    try:
        return Profiles.load(directory)
    except ProfileError as error:
        raise CommandFailed(str(error)) from None
