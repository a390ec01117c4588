"""The command `probe`: what is this meter?"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from metercast.cli import exits
from metercast.cli.connect import json_option
from metercast.cli.exits import USAGE, CommandFailed
from metercast.cli.output import write_json
from metercast.cli.probe_credentials import read_credentials

if TYPE_CHECKING:
    from metercast.probe.settings import ProbeSettings
    from metercast.trace.session import SessionTrace

DEFAULT_PORT = 4059
TRACE_LIMIT = 256 << 20
_OUT = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command()
@click.argument("target", metavar="HOST[:PORT]")
@click.option("--framing", type=click.Choice(["auto", "wrapper", "hdlc"]), default="auto", show_default=True)
@click.option("--client", "client_sap", type=click.IntRange(1, 127), default=16, show_default=True, help="Who asks.")
@click.option(
    "--server",
    "servers",
    type=click.IntRange(0, 0x3FFF),
    multiple=True,
    help="Server addresses to try, in place of 1, 16 and 17; over HDLC the first only.",
)
@click.option("--address-size", type=click.Choice(["1", "2", "4"]), help="Octets of the HDLC address; without it all.")
@click.option(
    "--physical",
    type=click.IntRange(0, 0x3FFF),
    multiple=True,
    help="Lower HDLC addresses to try, in place of 17, 16 and 1.",
)
@click.option(
    "--credentials",
    "credentials_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file of an association with its secrets, as in a device record, or of a device record: it is opened, "
    "once, and read through as well.",
)
@click.option("--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="Seconds to answer.")
@click.option("--delay", type=click.FloatRange(0, 600), default=1.0, show_default=True, help="Seconds to the next try.")
@click.option("--longest", type=click.FloatRange(1, 86400), default=600.0, show_default=True, help="Seconds, in all.")
@click.option(
    "--trace",
    "trace_dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write what is said into this directory, as a log and as a pcap, without secrets.",
)
@click.option("--device-out", metavar="FILE", type=_OUT, help="Write the drafted device record here.")
@click.option("--profile-out", metavar="FILE.toml", type=_OUT, help="Write the drafted profile here.")
@json_option
def probe(
    *,
    target: str,
    framing: Literal["auto", "wrapper", "hdlc"],
    client_sap: int,
    servers: tuple[int, ...],
    address_size: str | None,
    physical: tuple[int, ...],
    credentials_file: Path | None,
    timeout: float,
    delay: float,
    longest: float,
    trace_dir: Path | None,
    device_out: Path | None,
    profile_out: Path | None,
    as_json: bool,
) -> int:
    """Find out what a meter is, read-only: framing, addresses, services, identity, clock, counters, objects.

    One connection at a time, with a pause before each. It associates as the public client, tries no password, and
    opens another association only with --credentials, once. It prints what it found and drafts the device record and a
    profile. The exit code is 0 where an association was opened, 3 where nothing can be connected to, else 1.
    """
    from metercast.probe.settings import LINK_TIMEOUT, USUAL_PHYSICAL, USUAL_SERVERS, ProbeSettings

    if len(servers) > 8 or len(physical) > 8:
        raise click.UsageError("at most 8 addresses of a kind")
    host, port = _host_and_port(target)
    settings = ProbeSettings(
        host=host,
        port=port,
        framing=framing,
        client_sap=client_sap,
        address_size=int(address_size) if address_size else None,  # type: ignore[arg-type]
        timeout=timeout,
        link_timeout=min(timeout, LINK_TIMEOUT),
        delay=delay,
        longest=longest,
        servers=servers or USUAL_SERVERS,
        physical_devices=physical or USUAL_PHYSICAL,
    )
    return asyncio.run(_probe(settings, credentials_file, trace_dir, device_out, profile_out, as_json=as_json))


async def _probe(
    settings: "ProbeSettings",
    credentials_file: Path | None,
    trace_dir: Path | None,
    device_out: Path | None,
    profile_out: Path | None,
    *,
    as_json: bool,
) -> int:
    from metercast.cli.probe_report import write_report
    from metercast.driver.transport import TcpConnector
    from metercast.probe.probing import NotReached, Probe

    credentials = read_credentials(credentials_file) if credentials_file is not None else None
    trace = _trace(trace_dir, settings) if trace_dir is not None else None
    probing = Probe(settings, TcpConnector(), _now, credentials, trace)
    try:
        report = await probing.run()
    except NotReached as error:
        raise CommandFailed(str(error), exits.NOT_REACHED) from None
    finally:
        if trace is not None:
            trace.end("the probe ended")
    if trace is not None:
        report.notes.append(f"traced in {trace_dir}, {trace.name}.log and .pcap")
    draft = report.draft
    if draft is not None and device_out is not None:
        _save(device_out, _indented(draft.device))
    if draft is not None and profile_out is not None:
        _save(profile_out, draft.profile)
    if as_json:
        import msgspec

        write_json(msgspec.to_builtins(report))
    else:
        write_report(report)
    opened = [each for each in (report.public, report.management) if each is not None and each.is_open]
    refused = credentials is not None and (report.management is None or not report.management.is_open)
    return exits.OK if opened and not refused else exits.FAILED


def _trace(directory: Path, settings: "ProbeSettings") -> "SessionTrace":
    from metercast.trace.directory import TraceDirectory
    from metercast.trace.session import SessionTrace

    try:
        traces = TraceDirectory(directory, TRACE_LIMIT)
        files = traces.begin(f"{settings.host}_{settings.port}")
    except OSError as error:
        raise CommandFailed(f"cannot write into {directory}: {error.strerror}") from None
    assert files is not None  # nothing else is under way
    return SessionTrace(traces, files, f"probe of {settings.host}:{settings.port}")


def _now() -> datetime:
    return datetime.now(UTC)


def _host_and_port(target: str) -> tuple[str, int]:
    """`host`, `host:port`, `[v6]:port`."""
    host, colon, port = target.rpartition(":")
    if not colon or (host.count(":") and not host.endswith("]")):
        host, port = target, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise CommandFailed(f"{target!r} is no HOST:PORT", USAGE)
    return host, int(port)


def _indented(document: object) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _save(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}") from None
