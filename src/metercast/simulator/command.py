"""The command `simulate`."""

from pathlib import Path
from typing import Literal

import click

from metercast.simulator.dialect import LIKE
from metercast.simulator.faults import FaultRule, parse_fault_rules
from metercast.simulator.firmware import make_image
from metercast.simulator.population import MAX_METERS, Population
from metercast.simulator.process import SimulatorOptions, run_simulator
from metercast.simulator.spec import AUTHENTICATIONS, DEFAULT_MAX_PDU, Authentication, HdlcSpec, Suite

DEFAULT_BASE_PORT = 24059
IMAGE_VERSION, IMAGE_OCTETS = "SIM-2.0", 64 << 10

Security = Literal["mixed"] | Authentication
Chosen = Literal["none", "authenticated", "encrypted", "both"]
_SUITES: dict[str, Suite] = {"0": 0, "1": 1, "2": 2}
_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command()
@click.option("--meters", type=click.IntRange(1, MAX_METERS), default=100, show_default=True, help="How many.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same meters.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that they share.")
@click.option(
    "--base-port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_BASE_PORT,
    show_default=True,
    help="The first meter's port, the others follow; 0 lets the system choose each.",
)
@click.option("--addresses", is_flag=True, help="A loopback address of its own for each meter, all on --base-port.")
@click.option("--security", type=click.Choice(["mixed", *AUTHENTICATIONS]), default="mixed", show_default=True)
@click.option(
    "--protection",
    type=click.Choice(["none", "authenticated", "encrypted", "both"]),
    help="What every meter demands; by default both for hls-gmac, else none.",
)
@click.option(
    "--suite",
    type=click.Choice(["0", "1", "2"]),
    help="Security suite; by default 1 for hls-ecdsa, else 0.",
)
@click.option("--dedicated", is_flag=True, help="Their records ask for dedicated keys, where they encrypt.")
@click.option("--general", is_flag=True, help="Their records ask for general ciphering, where they cipher.")
@click.option("--gateway", type=click.IntRange(0), default=0, show_default=True, help="How many stand behind one.")
@click.option("--gateway-queues", is_flag=True, help="A second connection to the gateway waits, not closes.")
@click.option("--hdlc", is_flag=True, help="The meters speak HDLC over TCP, not the wrapper.")
@click.option(
    "--faults", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON array of fault rules."
)
@click.option("--max-pdu", type=click.IntRange(64, 65535), default=DEFAULT_MAX_PDU, show_default=True)
@click.option("--time-zone", default="Europe/Amsterdam", show_default=True, help="IANA zone of the meters.")
@click.option("--control-mode", type=click.IntRange(0, 7), default=4, show_default=True, help="Of their relays.")
@click.option("--multiple-references", is_flag=True, help="The meters take requests with lists.")
@click.option(
    "--like",
    type=click.Choice(list(LIKE)),
    default="generic",
    show_default=True,
    help="Meters as this profile says they are, and records that name it.",
)
@click.option("--log", "log_path", type=_FILE, help="NDJSON of every session and service.")
@click.option("--devices-out", type=_FILE, help="NDJSON of the meters, with their keys, for the device import.")
@click.option("--state-out", type=_FILE, help="JSON of the physical state, at the end and on SIGUSR1.")
@click.option(
    "--write-image",
    type=_FILE,
    help="Write a firmware image that the meters take to this file, of 64 KiB and version SIM-2.0, and end.",
)
@click.option("--until-stdin-closes", is_flag=True, help="End also when standard input ends.")
def simulate(
    *,
    meters: int,
    seed: int,
    host: str,
    base_port: int,
    addresses: bool,
    security: Security,
    protection: Chosen | None,
    suite: Literal["0", "1", "2"] | None,
    dedicated: bool,
    general: bool,
    gateway: int,
    gateway_queues: bool,
    hdlc: bool,
    faults: Path | None,
    max_pdu: int,
    time_zone: str,
    control_mode: int,
    multiple_references: bool,
    like: str,
    log_path: Path | None,
    devices_out: Path | None,
    state_out: Path | None,
    write_image: Path | None,
    until_stdin_closes: bool,
) -> None:
    """Run simulated DLMS/COSEM meters on TCP.

    Prints one line of JSON when they listen, and runs until SIGTERM, SIGINT or, where asked for, the end of standard
    input.
    """
    rules: tuple[FaultRule, ...] = ()
    try:
        if write_image is not None:
            write_image.write_bytes(make_image(write_image.name, IMAGE_VERSION, IMAGE_OCTETS))
            return
        if faults is not None:
            rules = parse_fault_rules(faults.read_bytes())
        population = Population.build(
            meters,
            seed,
            security=security,
            protection=protection,
            suite=None if suite is None else _SUITES[suite],
            dedicated=dedicated,
            general=general,
            host=host,
            base_port=base_port,
            own_addresses=addresses,
            gateway=gateway,
            second_connection="wait" if gateway_queues else "close",
            faults=rules,
            max_pdu=max_pdu,
            time_zone=time_zone,
            control_mode=control_mode,
            dialect=LIKE[like],
            multiple_references=multiple_references,
            hdlc=HdlcSpec(address_size=4 if gateway else 1) if hdlc else None,
        )
        options = SimulatorOptions(
            population=population,
            log_path=log_path,
            devices_out=devices_out,
            state_out=state_out,
            until_stdin_closes=until_stdin_closes,
        )
        run_simulator(options)
    except (ValueError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    except KeyError as exc:
        raise click.ClickException(f"no such IANA time zone: {time_zone}") from exc
