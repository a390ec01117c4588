"""The draft of a profile: what the meter showed itself to do otherwise than the generic profile says."""

import re
from typing import Any, Final

from metercast.probe.report import Report
from metercast.profiles.collection import BUILT_IN, load_one
from metercast.profiles.errors import ProfileError
from metercast.profiles.files import parse_text
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
    tables = {name: values for name, values in _differences(report).items() if values}
    title = report.identity.logical_device_name or report.target
    lines = [f'extends = "{GENERIC}"', f"description = {_toml(f'Draft from a probe of {title[:64]}: check each line')}"]
    for table, values in tables.items():
        lines += ["", f"[{table}]"]
        lines += [f"{key} = {_toml(value)}" + (f"  # {why}" if why else "") for key, (value, why) in values.items()]
    if not tables:
        lines.append("# nothing was seen that differs from generic")
    text = "\n".join(lines) + "\n"
    try:
        load_one(parse_text(text, profile_name(report), "the drafted profile"))
    except ProfileError as error:
        report.notes.append(str(error))
    return text, bool(tables)


def _differences(report: Report) -> dict[str, dict[str, tuple[Any, str]]]:
    generic = BUILT_IN.get(GENERIC)
    dates: dict[str, tuple[Any, str]] = {}
    if report.clock is not None and report.clock.sign == "inverted":
        dates["deviation_sign"] = ("inverted", f"told {report.clock.deviation_minutes} minutes")
    management: dict[str, tuple[Any, str]] = {}
    facts = report.management
    if facts is not None and facts.is_open and facts.client_sap != generic.clients["management"].sap:
        management["sap"] = (facts.client_sap, "")
    usual = str(generic.clients["management"].invocation_counter)
    counters = report.security.invocation_counters
    if counters and usual not in counters:
        management["invocation_counter"] = (next(iter(counters)), "check whose counter it is")
    public: dict[str, tuple[Any, str]] = {}
    if report.public.is_open and report.public.client_sap != generic.clients["public"].sap:
        public["sap"] = (report.public.client_sap, "")
    buffers: dict[str, tuple[Any, str]] = {}
    offers = (facts.conformance if facts is not None else []) or report.public.conformance
    if offers and "selective-access" not in offers:
        buffers["by_range"] = buffers["by_entry"] = (False, "no selective access was offered")
    association: dict[str, tuple[Any, str]] = {}
    if report.public.released is False and not (facts is not None and facts.released):
        association["release"] = (False, "the RLRQ was not answered")
    return {
        "objects": _objects(report),
        "dates": dates,
        "buffers": buffers,
        "clients.management": management,
        "clients.public": public,
        "association": association,
    }


def _objects(report: Report) -> dict[str, tuple[Any, str]]:
    """Where the usual object is missing and there is one other of its class."""
    usual = BUILT_IN.get(GENERIC).objects
    found: dict[str, tuple[Any, str]] = {}
    for name, class_id in _ONLY_ONES.items():
        there = [each["obis"] for each in report.objects if each["class"] == class_id]
        if len(there) == 1 and there[0] != str(getattr(usual, name)):
            found[name] = (there[0], f"the one of class {class_id}")
    return found


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = "".join(each if each.isprintable() and each not in '"\\' else "?" for each in str(value))
    return f'"{text}"'
