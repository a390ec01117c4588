"""What a probe found, for people."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from metercast.cli.output import shown, write

if TYPE_CHECKING:
    from metercast.probe.report import AssociationFacts, ClockFacts, LineFacts, Report

_WIDTH = 20


def write_report(report: "Report") -> None:
    """One fact a line, then what was read, then the drafts."""
    for name, value in _facts(report):
        if value not in (None, ""):
            write(f"{name:<{_WIDTH}}{shown(value)}")
    if report.reads:
        write("\nread")
        for each in report.reads:
            answer = each.value if each.error is None else f"({each.error})"
            write(f"  client {each.client_sap} {each.attribute}: {shown(answer)}")
    if report.notes:
        write("\nnotes")
        for note in report.notes:
            write(f"  {shown(note)}")
    draft = report.draft
    if draft is not None:
        import msgspec

        write("\ndevice record, without secrets")
        write(msgspec.json.format(msgspec.json.encode(draft.device), indent=2).decode())
        write(f"\nprofile {draft.profile_name}.toml")
        write(draft.profile.rstrip("\n"))


def _facts(report: "Report") -> Iterator[tuple[str, Any]]:
    yield "target", report.target
    yield "framing", _line(report.line) if report.is_meter else "no DLMS was heard"
    if report.is_meter:
        for name, facts in (("public client", report.public), ("with credentials", report.management)):
            if facts is not None:
                yield name, _association(facts)
        offered = report.public if report.public.conformance or report.management is None else report.management
        yield "conformance", ", ".join(offered.conformance)
        size = offered.max_pdu_size
        yield "maximum PDU", None if size is None else "without limit" if size == 0 else f"{size} octets"
    identity = report.identity
    yield "device name", identity.logical_device_name
    yield "serial number", identity.serial_number
    yield "manufacturer", identity.manufacturer
    yield "firmware", identity.firmware
    yield "system title", identity.system_title
    yield "logical devices", ", ".join(f"{each.sap} {each.name}" for each in report.logical_devices)
    security = report.security
    if security.suite is not None or security.policy_code is not None:
        yield "security", f"suite {security.suite}, policy {security.policy_code}"
    for known in security.associations:
        parts = [f"client {known.client_sap}" if known.client_sap is not None else "", known.mechanism, known.context]
        yield "association", f"{known.obis}: " + ", ".join(part for part in parts if part)
    for obis, value in security.invocation_counters.items():
        yield "invocation counter", f"{value} ({obis})"
    if report.clock is not None:
        yield "clock", _clock(report.clock)
    if report.objects:
        classes = Counter(each["class"] for each in report.objects)
        told = ", ".join(f"{count} of class {class_id}" for class_id, count in sorted(classes.items()))
        yield "objects", f"{len(report.objects)} for client {report.objects_client_sap}: {told}"


def _line(line: "LineFacts") -> str:
    if line.framing != "hdlc":
        return f"TCP wrapper, server {line.server_sap}"
    physical = f"/{line.physical_device}" if line.address_size != 1 else ""
    text = f"HDLC, server {line.server_sap}{physical} in {line.address_size} octets"
    if line.transmit_size is not None:
        text += f"; sends {line.transmit_size} octets a frame, takes {line.receive_size}"
        text += f", windows {line.transmit_window} and {line.receive_window}"
    return text


def _association(facts: "AssociationFacts") -> str:
    how = "" if facts.authentication == "none" else f" with {facts.authentication}"
    if facts.protection != "none":
        how += f", protection {facts.protection}"
    released = {True: "; answers RLRQ", False: "; silent to RLRQ", None: ""}[facts.released]
    return f"{facts.client_sap}{how}: {facts.answer or 'not asked'}{released}"


def _clock(clock: "ClockFacts") -> str:
    text = clock.time
    if clock.deviation_minutes is not None:
        text += f"; deviation {clock.deviation_minutes} minutes, sign {clock.sign}"
    if clock.difference_seconds is not None:
        ahead = "ahead" if clock.difference_seconds >= 0 else "behind"
        text += f"; {abs(clock.difference_seconds):.1f} s {ahead}"
    return text
