"""The command types that there are: one line each."""

from metercast.commands.bundle import bundle_of
from metercast.commands.clock.read_clock import READ_CLOCK
from metercast.commands.clock.set_time import SET_TIME
from metercast.commands.clock.sync_clock import SYNC_CLOCK
from metercast.commands.contract import CommandType
from metercast.commands.firmware.firmware_update import FIRMWARE_UPDATE
from metercast.commands.firmware.verify_firmware import VERIFY_FIRMWARE
from metercast.commands.meter.generic import ACTION, GET, SET
from metercast.commands.meter.read_association import READ_ASSOCIATION
from metercast.commands.meter.read_security import READ_SECURITY
from metercast.commands.meter.replace_keys import REPLACE_KEYS
from metercast.commands.meter.set_push_setup import SET_PUSH_SETUP
from metercast.commands.parameters import parse_parameters
from metercast.commands.readings.read_profile import READ_EVENTS, READ_PROFILE
from metercast.commands.readings.read_registers import READ_INSTANTANEOUS, READ_REGISTERS
from metercast.commands.supply.relay import DISCONNECT, RECONNECT
from metercast.commands.supply.set_limiter import SET_LIMITER
from metercast.commands.tariff.billing_reset import BILLING_RESET
from metercast.commands.tariff.get_tou import GET_TOU
from metercast.commands.tariff.set_special_days import SET_SPECIAL_DAYS
from metercast.commands.tariff.set_tou import SET_TOU
from metercast.commands.tariff.verify_tou import VERIFY_TOU
from metercast.domain.problem import InvalidField

__all__ = ["COMMANDS", "command_type", "parse_parameters", "register"]

COMMANDS: dict[str, CommandType] = {}


def register(command: CommandType) -> None:
    """Adds a command type; ValueError where its name is taken by another."""
    if COMMANDS.setdefault(command.name, command) is not command:
        raise ValueError(f"the command type {command.name} is registered already")


def command_type(name: str) -> CommandType:
    """The command type of that name; InvalidField that lists the known ones."""
    try:
        return COMMANDS[name]
    except KeyError:
        raise InvalidField("commandType", name, f"unknown; known: {', '.join(sorted(COMMANDS))}") from None


_TARIFFS = (SET_TOU, GET_TOU, VERIFY_TOU, SET_SPECIAL_DAYS, BILLING_RESET)
_CLOCK = (READ_CLOCK, SYNC_CLOCK, SET_TIME)
_VALUES = (READ_REGISTERS, READ_INSTANTANEOUS, READ_PROFILE, READ_EVENTS)
_SUPPLY = (DISCONNECT, RECONNECT, SET_LIMITER)
_FIRMWARE = (FIRMWARE_UPDATE, VERIFY_FIRMWARE)
_METER = (READ_ASSOCIATION, READ_SECURITY, REPLACE_KEYS, SET_PUSH_SETUP, GET, SET, ACTION)

for _command in (*_TARIFFS, *_CLOCK, *_VALUES, *_SUPPLY, *_METER, *_FIRMWARE):
    register(_command)
register(bundle_of(COMMANDS))
