"""Simulated DLMS/COSEM meters that speak real bytes over real TCP, with faults on demand and a log of all they did."""

from metercast.simulator.faults import NO_FAULTS, FaultRule, Faults, parse_fault_rules
from metercast.simulator.log import executions, overlapping_sessions, read_log
from metercast.simulator.meter import SimulatedMeter
from metercast.simulator.population import Population, write_device_records
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import GatewaySpec, MeterSpec

__all__ = [
    "NO_FAULTS",
    "FaultRule",
    "Faults",
    "GatewaySpec",
    "MeterSpec",
    "Population",
    "SimulatedMeter",
    "Simulator",
    "executions",
    "overlapping_sessions",
    "parse_fault_rules",
    "read_log",
    "write_device_records",
]
