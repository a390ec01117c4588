"""The registry: what is there, what is not, and how a type is added."""

from datetime import timedelta

import msgspec
import pytest

from metercast.commands.contract import CommandType, MeterSession
from metercast.commands.registry import COMMANDS, command_type, register
from metercast.domain.command import CommandTraits, ConflictGroup
from metercast.domain.outcome import Outcome
from metercast.domain.problem import InvalidField
from metercast.domain.retry import Resend


def test_all_command_types() -> None:
    assert sorted(COMMANDS) == [
        "ACTION",
        "BILLING_RESET",
        "BUNDLE",
        "DISCONNECT",
        "FIRMWARE_UPDATE",
        "GET",
        "GET_TOU",
        "READ_ASSOCIATION",
        "READ_CLOCK",
        "READ_EVENTS",
        "READ_INSTANTANEOUS",
        "READ_PROFILE",
        "READ_REGISTERS",
        "READ_SECURITY",
        "RECONNECT",
        "REPLACE_KEYS",
        "SET",
        "SET_LIMITER",
        "SET_PUSH_SETUP",
        "SET_SPECIAL_DAYS",
        "SET_TIME",
        "SET_TOU",
        "SYNC_CLOCK",
        "VERIFY_FIRMWARE",
        "VERIFY_TOU",
    ]
    assert all(command.name == name and command.summary for name, command in COMMANDS.items())


def test_an_unknown_type_lists_the_known() -> None:
    with pytest.raises(InvalidField) as caught:
        command_type("SET_TUO")
    assert caught.value.path == "commandType"
    assert caught.value.received == "SET_TUO"
    assert "known: ACTION, BILLING_RESET, BUNDLE" in caught.value.detail


def test_traits() -> None:
    set_tou = command_type("SET_TOU").traits
    assert (set_tou.resend, set_tou.conflict_group) == (Resend.VERIFY, ConflictGroup.CALENDAR)
    assert set_tou.expires_after == timedelta(days=1)
    for name in ("GET_TOU", "READ_CLOCK", "READ_REGISTERS", "READ_PROFILE", "READ_EVENTS", "GET"):
        traits = command_type(name).traits
        assert (traits.resend, traits.conflict_group) == (Resend.SAFE, ConflictGroup.NONE)
    assert command_type("SYNC_CLOCK").traits.conflict_group is ConflictGroup.CLOCK


class Nothing(msgspec.Struct):
    pass


async def _perform(session: MeterSession, parameters: Nothing) -> Outcome:
    return Outcome.done()


def test_a_type_is_added_once() -> None:
    traits = CommandTraits(name="BEEP", resend=Resend.NEVER, expires_after=timedelta(hours=1))
    beep = CommandType(traits=traits, parameters=Nothing, perform=_perform)
    try:
        register(beep)
        register(beep)
        assert command_type("BEEP") is beep
        other = CommandType(traits=traits, parameters=Nothing, perform=_perform, summary="another")
        with pytest.raises(ValueError, match="BEEP is registered already"):
            register(other)
    finally:
        COMMANDS.pop("BEEP", None)
