"""The command `decode`: a trace from the line, made readable."""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from metercast.cli.connect import json_option
from metercast.cli.decoding_keys import read_keys
from metercast.cli.exits import FAILED, OK, CommandFailed, say
from metercast.cli.output import shown, write, write_json, write_line

if TYPE_CHECKING:
    from metercast.dlms.deciphering import Keys
    from metercast.dlms.describe import Description

MAX_TEXT = 8 << 20
_BETWEEN = re.compile(r"[\s:,\-_|]+|0[xX]|\\x")
_NOT_HEX = re.compile(r"[^0-9A-Fa-f]")


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("text", metavar="[HEX]...", nargs=-1)
@click.option(
    "--file",
    "-f",
    "file_name",
    metavar="FILE",
    help="A capture (pcap or pcapng) or hexadecimal text; or -. An argument that is the name of a file does as well.",
)
@click.option(
    "--keys",
    "keys_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file with encryptionKey, authenticationKey and, as known, clientSystemTitle and serverSystemTitle; "
    "hex each; or with several of them, or with device records. Ciphered APDUs are then deciphered.",
)
@json_option
def decode(*, text: tuple[str, ...], file_name: str | None, keys_file: Path | None, as_json: bool) -> int:
    """Make DLMS octets readable: frames of the TCP wrapper or HDLC, an APDU, a value, or a capture file.

    HEX may hold blanks, colons, dashes, commas and 0x; lines may be APDUs of their own. Without it, or with -, it is
    read from standard input. Of a capture every TCP connection is put together and every frame in it is shown; with
    --json one a line. Secrets are not shown. The exit code is 1 where a part could not be read.
    """
    if file_name is not None and text:
        raise click.UsageError("give HEX or --file, not both")
    keys = read_keys(keys_file) if keys_file is not None else []
    if file_name is None and len(text) == 1 and _NOT_HEX.search(_BETWEEN.sub("", text[0])) and Path(text[0]).is_file():
        file_name = text[0]
    if file_name is None and text not in ((), ("-",)):
        return _show(_described(" ".join(text), keys), as_json=as_json)
    if file_name in (None, "-"):
        return _decode_file(sys.stdin.buffer, keys, as_json=as_json)
    try:
        with Path(str(file_name)).open("rb") as file:
            return _decode_file(file, keys, as_json=as_json)
    except OSError as error:
        raise CommandFailed(f"cannot read {file_name}: {error.strerror}") from None


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


def _decode_file(file: BinaryIO, keys: "Sequence[Keys]", *, as_json: bool) -> int:
    from metercast.capture.files import is_capture

    beginning = file.read(4)
    if is_capture(beginning):
        return _show_capture(_Again(beginning, file), keys, as_json=as_json)
    text = beginning + file.read(MAX_TEXT + 1 - len(beginning))
    if len(text) > MAX_TEXT:
        raise CommandFailed(f"more than {MAX_TEXT} characters to decode")
    return _show(_described(text.decode("ascii", "replace"), keys), as_json=as_json)


class _Again:
    """A file whose beginning was read already; it need not be one that can be wound back."""

    def __init__(self, beginning: bytes, file: BinaryIO) -> None:
        self._beginning = beginning
        self._file = file

    def read(self, size: int) -> bytes:
        first, self._beginning = self._beginning[:size], self._beginning[size:]
        return first + self._file.read(size - len(first)) if len(first) < size else first


def _described(text: str, keys: "Sequence[Keys]") -> "list[Description]":
    """Frames, where it begins as one does; else one APDU or value, or one on each line."""
    from metercast.capture.dialogue import describe_frames
    from metercast.dlms.describe import ApduReader, describe
    from metercast.dlms.errors import DlmsError

    octets = parse_hex(text)
    try:
        if octets[0] == 0x7E or octets[:2] == b"\x00\x01":
            return describe_frames(octets, keys)
        return [describe(octets, keys)]
    except DlmsError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        reader = ApduReader(keys)
        try:
            if len(lines) > 1:
                return [reader.apdu(parse_hex(line)) for line in lines]
        except (DlmsError, CommandFailed):
            pass
        raise CommandFailed(f"not readable: {error}") from None


def _show(nodes: "Sequence[Description]", *, as_json: bool) -> int:
    from metercast.dlms.describe import Description

    if as_json:
        write_json((nodes[0] if len(nodes) == 1 else Description("frames", str(len(nodes)), tuple(nodes))).as_dict())
    for node in () if as_json else nodes:
        _write_lines(node.lines())
    return _exit_code(sum(node.faults for node in nodes))


def _show_capture(file: "_Again", keys: "Sequence[Keys]", *, as_json: bool) -> int:
    from metercast.capture.files import CaptureError
    from metercast.capture.reading import CaptureReader

    faults = count = 0
    try:
        for said in CaptureReader(keys).read(file):
            count += 1
            faults += said.frame.faults
            if as_json:
                write_line(said.as_dict())
                continue
            ends = "" if said.source is None else f" {said.source} > {said.destination}"
            write(said.time + ends)
            _write_lines(said.frame.lines(1))
    except CaptureError as error:
        raise CommandFailed(f"not readable: {error}") from None
    if not count:
        raise CommandFailed("the capture holds no TCP payload")
    return _exit_code(faults)


def _write_lines(lines: Iterable[str]) -> None:
    for line in lines:
        write(shown(line))


def _exit_code(faults: int) -> int:
    if faults:
        say(f"{faults} {'parts' if faults > 1 else 'part'} could not be read")
    return FAILED if faults else OK
