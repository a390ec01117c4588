"""The command `decode`: a trace from the line, made readable."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metercast.cli.connect import json_option
from metercast.cli.exits import CommandFailed
from metercast.cli.output import shown, write, write_json

if TYPE_CHECKING:
    from metercast.dlms.describe import Keys

MAX_TEXT = 8 << 20
MAX_KEYS_FILE = 64 << 10
_BETWEEN = re.compile(r"[\s:,\-_|]+|0[xX]|\\x")
_NOT_HEX = re.compile(r"[^0-9A-Fa-f]")


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("text", metavar="[HEX]...", nargs=-1)
@click.option(
    "--keys",
    "keys_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file with encryptionKey, authenticationKey and, as known, clientSystemTitle and serverSystemTitle; "
    "hex each. Ciphered APDUs are then deciphered.",
)
@json_option
def decode(*, text: tuple[str, ...], keys_file: Path | None, as_json: bool) -> None:
    """Make DLMS octets readable: wrapper frames, an APDU or a value.

    HEX may hold blanks, colons, dashes, commas and 0x. Without it, or with -, it is read from standard input.
    """
    from metercast.dlms.describe import describe
    from metercast.dlms.errors import DlmsError

    octets = parse_hex(_stdin() if text in ((), ("-",)) else " ".join(text))
    keys = _read_keys(keys_file) if keys_file is not None else None
    try:
        description = describe(octets, keys)
    except DlmsError as error:
        raise CommandFailed(f"not readable: {error}") from None
    if as_json:
        write_json(description.as_dict())
    else:
        for line in description.lines():
            write(shown(line))


def parse_hex(text: str) -> bytes:
    """The octets; CommandFailed names what is no hexadecimal digit and where it stands."""
    digits = _BETWEEN.sub("", text)
    wrong = _NOT_HEX.search(digits)
    if wrong is not None:
        raise CommandFailed(f"not hexadecimal: {wrong[0]!r} at digit {wrong.start() + 1}")
    if len(digits) % 2:
        raise CommandFailed(f"{len(digits)} hexadecimal digits, an odd number: half an octet is missing")
    if not digits:
        raise CommandFailed("nothing to decode")
    return bytes.fromhex(digits)


def _stdin() -> str:
    text = sys.stdin.buffer.read(MAX_TEXT + 1)
    if len(text) > MAX_TEXT:
        raise CommandFailed(f"more than {MAX_TEXT} characters to decode")
    return text.decode("ascii", "replace")


def _read_keys(path: Path) -> "Keys":
    import msgspec

    from metercast.dlms.describe import Keys

    class File(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
        encryption_key: str
        authentication_key: str
        client_system_title: str | None = None
        server_system_title: str | None = None

    try:
        with path.open("rb") as file:
            given = msgspec.json.decode(file.read(MAX_KEYS_FILE), type=File)
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path}: {error}") from None
    return Keys(
        _octets(path, "encryptionKey", given.encryption_key, 16),
        _octets(path, "authenticationKey", given.authentication_key, 16),
        _title(path, "clientSystemTitle", given.client_system_title),
        _title(path, "serverSystemTitle", given.server_system_title),
    )


def _title(path: Path, name: str, text: str | None) -> bytes | None:
    return None if text is None else _octets(path, name, text, 8)


def _octets(path: Path, name: str, text: str, size: int) -> bytes:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(octets) != size:
        raise CommandFailed(f"{path}: {name} must be {2 * size} hexadecimal digits")
    return octets
