"""Meters with a dialect, without a driver: what they take and tell otherwise than the usual one."""

import pytest

from metercast.dlms.logical_name import LogicalName
from metercast.simulator.dialect import USUAL, Dialect
from metercast.simulator.objects.base import Refusal
from metercast.simulator.objects.dialect import dialect_model
from metercast.simulator.objects.model import standard_model
from metercast.simulator.population import Population

USUAL_NAME, HERE = LogicalName.parse("0.0.13.0.0.255"), LogicalName.parse("0.0.13.0.1.255")


def test_a_client_elsewhere_has_the_usual_role_and_nobody_has_the_old_address() -> None:
    dialect = Dialect(management_client=48)
    assert [dialect.role(sap) for sap in (48, 16, 1, 2)] == [1, 16, 0, 2]
    assert [USUAL.role(sap) for sap in (1, 16, 48)] == [1, 16, 48]


def test_a_moved_object_is_listed_and_found_where_it_is_only() -> None:
    model = dialect_model(standard_model(), Dialect(moved=((USUAL_NAME, HERE),)))
    names = [entry.value[2].value for entry in model.object_list(1).value]
    assert HERE in names
    assert USUAL_NAME not in names
    assert len(names) == len(standard_model().object_list(1).value)
    model.attribute(1, 20, HERE, 2)
    with pytest.raises(Refusal):
        model.attribute(1, 20, USUAL_NAME, 2)


def test_a_population_of_a_dialect_tells_its_profile_and_client() -> None:
    population = Population.build(2, dialect=Dialect(profile="dsmr", management_client=48), base_port=4059)
    for record in population.device_records():
        assert record["profile"] == "dsmr"
        assert record["associations"]["management"]["clientSap"] == 48
