"""What meters send by themselves is counted for Prometheus, through the whole server."""

from dataclasses import replace
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.web.conftest import Api

from metercast.app import Metercast
from metercast.config import Config
from metercast.simulator.faults import SendNotification
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator


async def _count(client: httpx.AsyncClient) -> float:
    (value,) = (
        sample.value
        for family in text_string_to_metric_families((await client.get("/metrics")).text)
        for sample in family.samples
        if sample.name == "metercast_notifications_total"
    )
    return value


async def test_notifications_are_counted(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    quiet, loud = Population.build(2, security="hls-gmac").meters
    meters = Population((quiet, replace(loud, faults=(SendNotification(count=2),))))
    async with Simulator(meters) as simulator:
        parts = await Metercast.open(config)
        transport = httpx.ASGITransport(app=parts.web())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            api = Api(client, parts, config, config.data_dir)
            ids = []
            for document in simulator.device_records():
                ids.append(document.pop("deviceId"))
                assert (await client.put(f"/devices/{ids[-1]}", json=document)).status_code == 201
            await parts.engine.start()
            counts = [await _count(client)]
            for device_id in (*ids, ids[1]):
                ended = await api.ended((await api.submit(device_id)).json()["taskId"])
                assert ended["outcome"] == "SUCCEEDED"
                counts.append(await _count(client))
        await parts.engine.drain(0.5)
        await parts.store.close()
    assert counts[:2] == [0, 0]
    assert counts[2] > 0
    assert counts[2] % 2 == 0
    assert counts[3] == 2 * counts[2]
