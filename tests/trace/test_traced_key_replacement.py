"""REPLACE_KEYS, traced: neither the old secrets nor the new ones are in any file, whatever the protection."""

from pathlib import Path
from typing import Any

import pytest
from tests.driver.head_end import PATIENT
from tests.driver.test_replace_keys_with_simulator import head_end
from tests.trace.test_traced_sessions import Always, assert_no_secret

from metercast.domain.outcome import How
from metercast.driver.counters import InvocationCounters
from metercast.driver.dlms import DlmsDriver
from metercast.driver.keeper import SecretKeeper
from metercast.driver.transport import TcpConnector
from metercast.simulator.spec import HdlcSpec


@pytest.mark.parametrize(
    ("keys", "security", "spec"),
    [
        (["authentication", "encryption"], "hls-gmac", {}),
        (["authentication", "encryption"], "hls-gmac", {"new_keys": "at-once", "hdlc": HdlcSpec(max_info=40)}),
        (["password"], "lls", {}),
        (["password"], "lls", {"hdlc": HdlcSpec(max_info=40)}),
        (["password"], "hls-sha256", {}),
        (["password", "authentication"], "hls-md5", {"protection": "authenticated"}),
    ],
)
async def test_no_secret_is_written_down(tmp_path: Path, keys: list[str], security: str, spec: dict[str, Any]) -> None:
    async with head_end(tmp_path, security, **spec) as end:
        tracer = Always(tmp_path / "traces")
        by = DlmsDriver(
            TcpConnector(),
            InvocationCounters(end.store),
            PATIENT,
            keeper=SecretKeeper(end.store, end.vault),
            tracer=tracer,
        )
        outcome = await end.run("REPLACE_KEYS", {"keys": keys}, by=by)
        assert outcome.how is How.DONE, outcome.detail
        assert await end.is_settled()
        secrets = [
            bytes.fromhex(each)
            if len(each) in (32, 64)
            else bytes.fromhex(each[4:])
            if each[:4] == "hex:"
            else each.encode()
            for each in end.seen
        ]
        assert len(secrets) >= 2
        assert_no_secret(tracer, secrets)
        log = tracer.log()
        assert "a secret, not shown" in log or "not readable" in log
