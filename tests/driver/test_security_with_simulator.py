"""Sessions over real sockets with every suite, policy, form and key of catalogue 2.4 to 2.6, as the wire shows them."""

from dataclasses import replace
from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.driver.support import driver, execute, meter_of
from tests.driver.tap import tapped

from metercast.dlms.ciphering import DED_TAGS, GLO_TAGS
from metercast.dlms.general_protection import GENERAL_DED, GENERAL_GLO, split_general
from metercast.domain.outcome import How
from metercast.domain.words import ErrorWord
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import HdlcSpec

POLICIES = {"authenticated": 0x10, "encrypted": 0x20, "both": 0x30}
REQUESTS = {0xC0, 0xC1, 0xC3}
ANSWERS = {0xC4, 0xC5, 0xC7}


def control_of(apdu: bytes) -> int:
    """The security control octet of a ciphered APDU."""
    if apdu[0] in (GENERAL_GLO, GENERAL_DED):
        return split_general(apdu).body[0]
    return apdu[2 + max(0, apdu[1] - 0x80)]


async def runs(document: dict[str, Any]) -> None:
    """A reading and a writing command, both done."""
    by = driver()
    outcome = await execute(meter_of(document), by=by)
    assert (outcome.how, outcome.detail) == (How.DONE, None)
    outcome = await execute(meter_of(document), "SET_TOU", set_tou(), by=by)
    assert (outcome.how, outcome.detail) == (How.DONE, None)


@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("authentication", ["lls", "hls-gmac"])
async def test_suites_and_policies(suite: int, policy: str, authentication: Any) -> None:
    async with tapped(security=authentication, suite=suite, protection=policy) as (document, tap, _):
        await runs(document)
    for apdus, tags in ((tap.asked, REQUESTS), (tap.answered, ANSWERS)):
        services = [apdu for apdu in apdus if apdu[0] not in (0x60, 0x61, 0x62, 0x63)]
        assert {apdu[0] for apdu in services} == {GLO_TAGS[tag] for tag in tags}
        assert {control_of(apdu) for apdu in services} == {POLICIES[policy] | suite}


@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("policy", ["authenticated", "encrypted", "both"])
@pytest.mark.parametrize("dedicated", [False, True])
@pytest.mark.parametrize("general", [False, True])
async def test_forms_and_dedicated_keys(suite: int, policy: str, dedicated: bool, general: bool) -> None:
    choices: dict[str, Any] = {"security": "hls-gmac", "suite": suite, "protection": policy}
    async with tapped(**choices, dedicated=dedicated, general=general) as (document, tap, _):
        await runs(document)
    encrypted = policy != "authenticated"  # else the key would go out in clear, and none is asked for
    for apdus, tags in ((tap.asked, REQUESTS), (tap.answered, ANSWERS)):
        specific = {(DED_TAGS if dedicated and encrypted else GLO_TAGS)[tag] for tag in tags}
        seen = {apdu[0] for apdu in apdus} - {0x60, 0x61, 0x62, 0x63}
        assert seen == ({GENERAL_DED if dedicated and encrypted else GENERAL_GLO} if general else specific)


async def test_each_association_has_a_dedicated_key_of_its_own() -> None:
    """What is recorded of one association is worth nothing in the next, whatever its counters."""
    async with tapped(security="lls", protection="both", dedicated=True) as (document, tap, simulator):
        by = driver()
        keys = []
        for _ in range(2):
            assert (await execute(meter_of(document), by=by)).how is How.DONE
            keys.append(tap.asked[-2])
        assert keys[0][0] == keys[1][0] == 0xD0
        assert simulator.meter("meter-0001").security.client_counter > 0


@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("policy", ["none", "both"])
async def test_signatures_on_both_curves(suite: int, policy: str) -> None:
    async with tapped(security="hls-ecdsa", suite=suite, protection=policy) as (document, tap, _):
        await runs(document)
    if policy == "none":
        (third, *_), (fourth, *_) = (
            [apdu for apdu in apdus if apdu[0] == tag] for apdus, tag in ((tap.asked, 0xC3), (tap.answered, 0xC7))
        )
        size = 64 if suite == 1 else 96
        assert third[13:15] == bytes((9, size))
        assert fourth[6:8] == bytes((9, size))
        assert len(third) == 15 + size


@pytest.mark.parametrize("wrong", ["signingKey", "serverPublicKey"])
async def test_signatures_of_others(wrong: str) -> None:
    async with tapped(security="hls-ecdsa", suite=1) as (document, _, _simulator):
        management = document["associations"]["management"]
        management[wrong] = (
            "02" * 32
            if wrong == "signingKey"
            else "BAAFFDE06A8CB1C9DAE8D94023C601DBBB249254BA22EDD827E820BCA2BCC643"
            "62FBB83D86A82B87BB8B7161D2AAB5521911A946B97A284A90F7785CD9047D25"
        )
        outcome = await execute(meter_of(document), "SET_TOU", set_tou())
        expected = ErrorWord.AUTHENTICATION_FAILED if wrong == "signingKey" else ErrorWord.SECURITY_VIOLATION
        assert outcome.error is expected


@pytest.mark.parametrize("suite", [0, 2])
async def test_the_broadcast_key_set(suite: Any) -> None:
    (spec,) = Population.build(1, security="lls", suite=suite, protection="both").meters
    async with Simulator(Population((replace(spec, key_set="broadcast"),))) as simulator:
        (document,) = simulator.device_records()
        assert document["associations"]["management"]["keySet"] == "broadcast"
        await runs(document)
        security = simulator.meter(spec.meter_id).security
        assert security.client_counter == 0
        assert security.broadcast_counter > 0


async def test_what_is_missing_is_named_before_anything_is_sent() -> None:
    async with tapped(security="hls-ecdsa", suite=1) as (document, tap, _):
        management = document["associations"]["management"]
        del management["signingKey"]
        outcome = await execute(meter_of(document))
        assert outcome.error is ErrorWord.CREDENTIALS_MISSING
        assert outcome.detail == "the meter's record lacks associations.management.signingKey"
        management["keySet"], management["authentication"], management["protection"] = "broadcast", "none", "both"
        outcome = await execute(meter_of(document))
        assert outcome.detail is not None
        assert "associations.management.broadcastKey" in outcome.detail
        assert tap.asked == []


async def test_keys_of_another_suite_reach_nobody() -> None:
    """A record with keys too short for its suite, however it came to be stored."""
    async with tapped(security="hls-gmac", suite=1) as (document, tap, _):
        document["associations"]["management"]["securitySuite"] = 2
        outcome = await execute(meter_of(document))
        assert outcome.error is ErrorWord.INTERNAL_ERROR
        assert outcome.detail is not None
        assert "suite 2" in outcome.detail
        assert document["associations"]["management"]["encryptionKey"] not in outcome.detail
        assert tap.asked == []


async def test_another_suite_with_the_same_keys_is_refused_by_the_meter() -> None:
    async with tapped(security="hls-gmac", suite=1) as (document, _, _simulator):
        document["associations"]["management"]["securitySuite"] = 0
        outcome = await execute(meter_of(document))
        assert outcome.error in (ErrorWord.AUTHENTICATION_FAILED, ErrorWord.ASSOCIATION_REJECTED)


@pytest.mark.parametrize("max_pdu", [96, 1024])
async def test_blocks_over_hdlc_with_all_of_it(max_pdu: int) -> None:
    choices: dict[str, Any] = {"security": "hls-gmac", "suite": 2, "dedicated": True, "general": True}
    async with Simulator(Population.build(1, **choices, hdlc=HdlcSpec(), max_pdu=max_pdu)) as simulator:
        (document,) = simulator.device_records()
        outcome = await execute(meter_of(document), "SET_TOU", set_tou())
        assert (outcome.how, outcome.detail) == (How.DONE, None)
