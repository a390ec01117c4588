"""READ_ASSOCIATION and READ_SECURITY on a fake meter."""

import pytest
from tests.commands.fake_session import FakeSession, attribute, run

from metercast.commands.contract import StepFailed
from metercast.dlms.data import NULL, Data
from metercast.domain.words import ErrorWord

LIST = (15, "0.0.40.0.0.255", 2)
FIRMWARE = {(1, "1.0.0.2.0.255", 2): Data.octets(b"V1.7")}


def row(class_id: int, version: int, obis: str, attributes: list[Data], methods: list[Data]) -> Data:
    name = attribute(class_id, obis, 1).logical_name
    rights = Data.structure([Data.array(attributes), Data.array(methods)])
    return Data.structure([Data.long_unsigned(class_id), Data.unsigned(version), Data.octets(name), rights])


def of_attribute(index: int, mode: int, selectors: Data = NULL) -> Data:
    return Data.structure([Data.integer(index), Data.enum(mode), selectors])


def of_method(index: int, mode: Data) -> Data:
    return Data.structure([Data.integer(index), mode])


async def test_modes_of_early_versions_are_codes() -> None:
    selectors = Data.array([Data.integer(1), Data.integer(2)])
    rows = [
        row(15, 1, "0.0.40.0.0.255", [of_attribute(2, 1)], [of_method(1, Data.boolean(True))]),
        row(7, 1, "1.0.99.1.0.255", [of_attribute(2, 6, selectors), of_attribute(3, 9)], [of_method(1, Data.enum(2))]),
    ]
    outcome = await run(FakeSession(FIRMWARE | {LIST: Data.array(rows)}), "READ_ASSOCIATION")
    association, profile = outcome.result["objects"]
    assert association["methods"] == [{"method": 1, "access": ["access"]}]
    assert profile["attributes"] == [
        {"attribute": 2, "access": ["read", "write", "authenticated"], "selectors": [1, 2]},
        {"attribute": 3, "access": ["mode 9"]},
    ]
    assert profile["methods"] == [{"method": 1, "access": ["access", "authenticated"]}]


async def test_modes_of_version_3_are_bits() -> None:
    rows = [
        row(15, 3, "0.0.40.0.0.255", [of_attribute(2, 1)], []),
        row(3, 0, "1.0.1.8.0.255", [of_attribute(2, 0x69)], [of_method(1, Data.enum(0x0D))]),
    ]
    outcome = await run(FakeSession(FIRMWARE | {LIST: Data.array(rows)}), "READ_ASSOCIATION")
    register = outcome.result["objects"][1]
    assert register["attributes"][0]["access"] == [
        "read", "encrypted-request", "authenticated-response", "encrypted-response",
    ]  # fmt: skip
    assert register["methods"][0]["access"] == ["access", "authenticated-request", "encrypted-request"]


@pytest.mark.parametrize("value", [NULL, Data.array([NULL]), Data.array([Data.structure([NULL] * 4)])])
async def test_what_is_no_list_is_the_meters_error(value: Data) -> None:
    with pytest.raises(StepFailed) as caught:
        await run(FakeSession(FIRMWARE | {LIST: value}), "READ_ASSOCIATION")
    assert caught.value.error is ErrorWord.INVALID_RESPONSE


@pytest.mark.parametrize(
    ("code", "policy"),
    [
        (0, []),
        (1, ["authenticated-request", "authenticated-response"]),
        (0x0C, ["authenticated-request", "encrypted-request"]),
        (0x90, ["signed-request", "signed-response"]),
    ],
)
async def test_the_security_setup(code: int, policy: list[str]) -> None:
    setup = "0.0.43.0.0.255"
    session = FakeSession(
        {
            (64, setup, 2): Data.enum(code),
            (64, setup, 3): Data.enum(1),
            (64, setup, 4): Data.octets(bytes.fromhex("4D43530000000001")),
            (64, setup, 5): Data.octets(bytes.fromhex("4D4D4D0000BC614E")),
        }
    )
    assert (await run(session, "READ_SECURITY")).result == {
        "policy": policy,
        "policyCode": code,
        "suite": 1,
        "clientSystemTitle": "4D43530000000001",
        "serverSystemTitle": "4D4D4D0000BC614E",
    }
