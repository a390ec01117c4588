"""Meters on one serial line, through the whole server: the line is held by one session at a time."""

from pathlib import Path

import httpx
from tests.driver.test_hdlc_with_simulator import on_one_line
from tests.web.conftest import Api

from metercast.app import Metercast
from metercast.config import Config
from metercast.simulator.simulator import Simulator

METERS = 12


async def test_many_commands_for_the_meters_of_one_line(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    async with Simulator(on_one_line(METERS)) as simulator:
        parts = await Metercast.open(config)
        transport = httpx.ASGITransport(app=parts.web())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            api = Api(client, parts, config, config.data_dir)
            documents = list(simulator.device_records())
            for document in documents:
                device_id = document.pop("deviceId")
                response = await client.put(f"/devices/{device_id}", json=document)
                assert response.status_code == 201, response.text
            ids = [spec.meter_id for spec in simulator.population.meters]
            await parts.engine.start()
            tasks = [(await api.submit(*ids, commandType=name)).json() for name in ("READ_CLOCK", "DISCONNECT")]
            for task in tasks:
                ended = await api.ended(task["taskId"])
                assert ended["counts"]["success"] == METERS, ended
                assert ended["outcome"] == "SUCCEEDED"
        await parts.engine.drain(0.5)
        await parts.store.close()
        # A second connection to the line would have been turned away; none was tried.
        assert simulator.gateway("gw-1").closed_at_once == 0
        assert all((meter.session_count, meter.max_concurrent) == (2, 1) for meter in simulator.meters)
        assert all(not meter.state.relay.output for meter in simulator.meters)
