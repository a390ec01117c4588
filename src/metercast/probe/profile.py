"""The draft of a profile: what the meter showed itself to do otherwise than the generic profile says."""

import re
from collections.abc import Iterator
from typing import Any, Final

from metercast.probe.report import Report
from metercast.profiles.collection import BUILT_IN
from metercast.profiles.draft import draft
from metercast.profiles.errors import ProfileError
from metercast.profiles.model import GENERIC

_NOT_OF_A_NAME: Final = re.compile("[^a-z0-9]+")
# Objects of which a meter has one, by class (catalogue 1).
_ONLY_ONES: Final = {
    "activity_calendar": 20,
    "special_days": 11,
    "clock": 8,
    "disconnect_control": 70,
    "limiter": 71,
    "security_setup": 64,
}


def profile_name(report: Report) -> str:
    """Of the manufacturer's three letters, where the meter tells them."""
    known = (report.identity.manufacturer or "").lower()
    return _NOT_OF_A_NAME.sub("-", f"{known}-meter" if known else "new-meter")


def draft_profile(report: Report) -> tuple[str, bool]:
    """(the file's text, whether anything differs from generic)."""
    title = report.identity.logical_device_name or report.target
    shown = "".join(each if each.isprintable() else "?" for each in title[:64])
    values: dict[str, Any] = {"description": f"Draft from a probe of {shown}: check each line"}
    notes: dict[str, str] = {}
    for key, value, note in _differences(report):
        values[key] = value
        if note:
            notes[key] = note
    try:
        return draft(profile_name(report), values, notes=notes), len(values) > 1
    except ProfileError as error:
        report.notes.append(f"no profile could be drafted: {error}")
        return "", False


def _differences(report: Report) -> Iterator[tuple[str, Any, str]]:
    """(key, value, why)."""
    generic = BUILT_IN.get(GENERIC)
    yield from _objects(report)
    if report.clock is not None and report.clock.sign == "inverted":
        yield "dates.deviation_sign", "inverted", f"told {report.clock.deviation_minutes} minutes"
    facts = report.management
    offers = (facts.conformance if facts is not None else []) or report.public.conformance
    if offers and "selective-access" not in offers:
        yield "buffers.by_range", False, "no selective access was offered"
        yield "buffers.by_entry", False, "no selective access was offered"
    if facts is not None and facts.is_open and facts.client_sap != generic.clients["management"].sap:
        yield "clients.management.sap", facts.client_sap, ""
    counters = report.security.invocation_counters
    if counters and str(generic.clients["management"].invocation_counter) not in counters:
        yield "clients.management.invocation_counter", next(iter(counters)), "check whose counter it is"
    if report.public.is_open and report.public.client_sap != generic.clients["public"].sap:
        yield "clients.public.sap", report.public.client_sap, ""
    if report.public.released is False and not (facts is not None and facts.released):
        yield "association.release", False, "the RLRQ was not answered"


def _objects(report: Report) -> Iterator[tuple[str, Any, str]]:
    """Where the usual object is missing and there is one other of its class."""
    usual = BUILT_IN.get(GENERIC).objects
    for name, class_id in _ONLY_ONES.items():
        there = [each["obis"] for each in report.objects if each["class"] == class_id]
        if len(there) == 1 and there[0] != str(getattr(usual, name)):
            yield f"objects.{name}", there[0], f"the one of class {class_id}"
