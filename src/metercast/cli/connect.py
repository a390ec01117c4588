"""Which server, and with which key: the options that every command shares that calls the API."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import click

from metercast.cli.exits import USAGE, CommandFailed

if TYPE_CHECKING:
    from metercast.client import Api

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_URL = "http://127.0.0.1:8080"
MAX_KEY_FILE = 4096
_FILE = click.Path(dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(file_okay=False, path_type=Path)


class Server(NamedTuple):
    """Where the server is, and where its API key is to be found."""

    url: str
    key_file: Path | None
    data_dir: Path | None
    ca_file: Path | None
    allow_http: bool
    environment_key: str | None

    def api(self) -> "Api":
        """A client for it. The key is that of the key file, else METERCAST_API_KEY, else the data directory's admin
        key; without any the server lets only this machine in."""
        from metercast.client import Api

        try:
            return Api(self.url, self._key(), ca_file=self.ca_file, allow_http=self.allow_http)
        except ValueError as error:
            raise CommandFailed(str(error), USAGE) from None

    def _key(self) -> str | None:
        if self.key_file is not None:
            return _read_key(self.key_file)
        if self.environment_key:
            return self.environment_key.strip()
        if self.data_dir is not None:
            return _read_key(self.data_dir / "admin.key")
        return None

    def __repr__(self) -> str:
        return f"Server({self.url!r})"


def _read_key(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_KEY_FILE + 1)
    except OSError as error:
        raise CommandFailed(f"cannot read the API key in {path}: {error.strerror}", USAGE) from None
    key = text.decode("ascii", "replace").strip()
    if not key or len(text) > MAX_KEY_FILE or not (key.isascii() and key.isprintable()):
        raise CommandFailed(f"{path} holds no API key", USAGE)
    return key


SERVER_OPTIONS = (
    click.option(
        "--url", envvar="METERCAST_URL", default=DEFAULT_URL, show_default=True, show_envvar=True, help="The server."
    ),
    click.option(
        "--key-file",
        envvar="METERCAST_KEY_FILE",
        show_envvar=True,
        type=_FILE,
        help="File that holds the API key; else the key is taken from METERCAST_API_KEY.",
    ),
    click.option(
        "--data-dir",
        envvar="METERCAST_DATA_DIR",
        show_envvar=True,
        type=_DIRECTORY,
        help="The server's data directory, where it is on this machine: its admin.key is used.",
    ),
    click.option(
        "--ca-file",
        envvar="METERCAST_CA_FILE",
        show_envvar=True,
        type=_FILE,
        help="PEM file of the certificates to trust, in place of the system's.",
    ),
    click.option(
        "--allow-http",
        envvar="METERCAST_ALLOW_HTTP",
        show_envvar=True,
        is_flag=True,
        help="Send the API key unencrypted, also to another machine.",
    ),
)


def with_server(function: Callable[..., R]) -> Callable[..., R]:
    """Gives the command the options, and calls it with a `server` in their place."""

    @wraps(function)
    def called(
        *args: Any,
        url: str,
        key_file: Path | None,
        data_dir: Path | None,
        ca_file: Path | None,
        allow_http: bool,
        **rest: Any,
    ) -> R:
        import os

        key = os.environ.get("METERCAST_API_KEY")
        return function(*args, server=Server(url, key_file, data_dir, ca_file, allow_http, key), **rest)

    for option in reversed(SERVER_OPTIONS):
        called = option(called)
    return called


json_option = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")
