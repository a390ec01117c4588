"""Class 9, script tables: MDI reset, which is not idempotent, and the tariffs (catalogue 1.13)."""

from metercast.dlms.data import NULL, Data, Tag
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import DataAccessResult
from metercast.simulator.objects.base import Attribute, CosemObject, Invoker, Refusal, constant, name
from metercast.simulator.state import MeterState

MDI_RESET = name("0.0.10.0.1.255")
TARIFF_SCRIPT_TABLE = name("0.0.10.0.100.255")
ACTIVE_TARIFF = name("0.0.96.14.0.255")
TARIFFS = (1, 2, 3, 4)
_EXECUTE = 2


def _script_table(logical_name: LogicalName, scripts: tuple[int, ...], run: Invoker) -> CosemObject:
    def execute(state: MeterState, parameter: Data) -> Data | None:
        if parameter.tag is not Tag.LONG_UNSIGNED:
            raise Refusal(DataAccessResult.TYPE_UNMATCHED)
        if parameter.value not in scripts:
            raise Refusal(DataAccessResult.OTHER_REASON)
        return run(state, parameter)

    return CosemObject(9, 0, logical_name, {2: _scripts(scripts)}, {1: execute})


def _scripts(scripts: tuple[int, ...]) -> Attribute:
    action = Data.structure(
        [Data.enum(_EXECUTE), Data.long_unsigned(1), Data.octets(ACTIVE_TARIFF), Data.integer(2), NULL]
    )
    rows = [Data.structure([Data.long_unsigned(script), Data.array([action])]) for script in scripts]
    return constant(Data.array(rows))


def _reset(state: MeterState, parameter: Data) -> None:
    state.billing_counter += 1


def _tariff(state: MeterState, parameter: Data) -> None:
    state.tariff = parameter.value


def mdi_reset() -> CosemObject:
    """Every execute(1) ends a billing period: the billing counter goes up by one."""
    return _script_table(MDI_RESET, (1,), _reset)


def tariff_scripts() -> CosemObject:
    return _script_table(TARIFF_SCRIPT_TABLE, TARIFFS, _tariff)
