"""Class 3, registers: energies by tariff, powers, voltages, currents (catalogue 1.5)."""

from collections.abc import Callable, Iterator

from metercast.dlms.data import Data
from metercast.simulator.energy import Energy
from metercast.simulator.objects.base import Attribute, CosemObject, constant, name

WATT, VOLT_AMPERE, VAR = 27, 28, 29
WATT_HOUR, VAR_HOUR = 30, 32
AMPERE, VOLT, HERTZ = 33, 35, 44

_QUANTITY_SHARES = {1: (WATT_HOUR, 1.0), 2: (WATT_HOUR, 0.02), 3: (VAR_HOUR, 0.1), 4: (VAR_HOUR, 0.01)}
_TARIFF_SHARES = {0: 1.0, 1: 0.55, 2: 0.35, 3: 0.07, 4: 0.03}


def _register(text: str, scaler: int, unit: int, value: Callable[[Energy, float], Data]) -> CosemObject:
    scaler_unit = Data.structure([Data.integer(scaler), Data.enum(unit)])
    read = Attribute(lambda state, caller: value(state.energy, state.clock.timestamp()))
    return CosemObject(3, 0, name(text), {2: read, 3: constant(scaler_unit)})


def _energy(quantity: int, tariff: int) -> CosemObject:
    unit, share = _QUANTITY_SHARES[quantity]
    part = share * _TARIFF_SHARES[tariff]
    return _register(
        f"1.0.{quantity}.8.{tariff}.255",
        0,
        unit,
        lambda energy, clock: Data.double_long_unsigned(energy.counted(clock, part) & 0xFFFF_FFFF),
    )


def _of_phase(phase: int) -> Iterator[CosemObject]:
    def voltage(energy: Energy, clock: float) -> Data:
        return Data.long_unsigned(energy.voltage(clock, phase))

    def current(energy: Energy, clock: float) -> Data:
        return Data.long_unsigned(energy.current(clock, phase))

    yield _register(f"1.0.{32 + 20 * phase}.7.0.255", -1, VOLT, voltage)
    yield _register(f"1.0.{31 + 20 * phase}.7.0.255", -2, AMPERE, current)


def registers() -> Iterator[CosemObject]:
    for quantity in _QUANTITY_SHARES:
        for tariff in _TARIFF_SHARES:
            yield _energy(quantity, tariff)
    for phase in range(3):
        yield from _of_phase(phase)
    yield _register("1.0.1.7.0.255", 0, WATT, lambda e, clock: Data.double_long_unsigned(e.power(clock)))
    yield _register("1.0.2.7.0.255", 0, WATT, lambda e, clock: Data.double_long_unsigned(0))
    yield _register("1.0.9.7.0.255", 0, VOLT_AMPERE, lambda e, clock: Data.double_long_unsigned(e.power(clock)))
    yield _register("1.0.3.7.0.255", 0, VAR, lambda e, clock: Data.double_long_unsigned(e.power(clock) // 10))
    yield _register("1.0.14.7.0.255", -2, HERTZ, lambda e, clock: Data.long_unsigned(5000))
