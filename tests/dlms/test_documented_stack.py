"""docs/dlms.md says what is true: its programs run, what it depends on is all that the package imports."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.harness import spec_of
from tests.simulator.test_own_client import Pair

from metercast.dlms.events import GetResult, SetResult
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import DEFAULT_CONFORMANCE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dlms.md").read_text()
PACKAGE = ROOT / "src" / "metercast" / "dlms"


async def test_the_program_reads_the_clock_of_a_meter() -> None:
    (program,) = re.findall(r"<!-- run: read_clock.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    async with Simulator(Population.build(1, security="hls-gmac", protection="both")) as simulator:
        (document,) = simulator.device_records()
        management = document["associations"]["management"]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", program, document["connection"]["host"], str(document["connection"]["port"]), "1"],
            env=os.environ
            | {
                "CLIENT_TITLE": management["clientSystemTitle"],
                "ENCRYPTION_KEY": management["encryptionKey"],
                "AUTHENTICATION_KEY": management["authenticationKey"],
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"the meter's clock: 20\d\d-\d\d-\d\d .*\n", done.stdout)


def test_the_other_examples_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[1:]
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "docs/dlms.md", "exec"), {})


@pytest.mark.parametrize("services", [0x000000, 0x000200, 0x000040])
def test_the_example_of_several_at_once(services: int) -> None:
    (example,) = re.findall(r"```python\n([^`]*has_lists.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/dlms.md", "exec"), names)
    pair = Pair(spec_of(conformance=DEFAULT_CONFORMANCE | services), 1024)
    first, second = names["ask"](pair.client, pair.ask)
    assert isinstance(first, GetResult)
    assert first.data is not None
    assert isinstance(second, SetResult if services == 0x000040 else GetResult)
    assert second.error is None


def test_the_table_names_modules_that_exist() -> None:
    table = PAGE.split("## How it is cut")[1].split("\n\n")[1]
    names = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert names
    assert [name for name in names if not (PACKAGE / f"{name}.py").exists()] == []


def test_nothing_but_what_the_page_says_is_imported() -> None:
    """No module of the package imports another part of the product, or a library that is not named."""
    found = {
        line.split()[1].split(".")[0] if not line.split()[1].startswith("metercast") else line.split()[1]
        for path in PACKAGE.glob("*.py")
        for line in path.read_text().splitlines()
        if re.match(r"\s*(import|from) ", line)
    }
    own = {name for name in found if name.startswith("metercast")}
    assert {name for name in own if not name.startswith("metercast.dlms")} == set()
    assert {name for name in found - own if name not in sys.stdlib_module_names} == {"msgspec", "cryptography"}
