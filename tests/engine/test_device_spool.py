"""The spool of device ids: unique, in order, in bounded memory, and gone when it is closed."""

import asyncio
import contextlib
import os
import stat
from pathlib import Path

import msgspec
import pytest

from metercast.domain.problem import Unavailable
from metercast.engine.spool import DeviceSpool, Spools
from metercast.engine.submission import BodyHash, SubmitHeader, SubmitRequest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def _filled(spool: DeviceSpool, count: int) -> list[str]:
    ids = [f"ü-{number * 7919 % count}" for number in range(count)]
    for start in range(0, count, 1000):
        part = ids[start : start + 1000]
        assert spool.add(part, list(range(start + 2, start + 2 + len(part))), 100).count == 0
    return ids


def test_slices_are_those_of_a_list(folder: Path) -> None:
    with Spools(folder, 1).open() as spool:
        ids = _filled(spool, 2500)
        assert len(spool) == 2500
        for piece in (slice(0, 10), slice(990, 1010), slice(2400, 9999), slice(5, 5), slice(None), slice(-3, None)):
            assert spool[piece] == ids[piece]
        assert spool[10:1:-4] == ids[10:1:-4]
        assert (spool[0], spool[2499], spool[-1]) == (ids[0], ids[2499], ids[-1])
        with pytest.raises(IndexError):
            spool[2500]
        assert list(spool) == ids
        assert spool.line_of(ids[1234]) == 1236
        with pytest.raises(KeyError):
            spool.line_of("nobody")


def test_an_empty_one_takes_no_disk(folder: Path) -> None:
    with Spools(folder, 1).open() as spool:
        assert (len(spool), list(spool), spool.add([], [], 100).count) == (0, [], 0)
        assert not folder.exists()


def test_repeated_ids_name_the_line_of_the_first(folder: Path) -> None:
    with Spools(folder, 1).open() as spool:
        assert spool.add(["a", "b", "a", "c", "b", "a"], [2, 3, 4, 5, 6, 7], 100).first == [(2, 2), (4, 3), (5, 2)]
        # Lines with gaps, as where blank ones stand between.
        assert spool.add(["d", "c", "d", "e"], [10, 12, 13, 20], 100).first == [(1, 5), (2, 10)]
        repeats = spool.add(["e"] * 50, list(range(30, 80)), 3)
        assert (repeats.count, repeats.first) == (50, [(0, 20), (1, 20), (2, 20)])
        assert spool.add(["e"], [99], 0).first == []
        # What is no repetition of an id is none: neither case nor form are folded.
        assert spool.add(["A", "a ", "é", "e\u0301", "1", "01", "1.0"], list(range(100, 107)), 100).count == 0


def test_nothing_is_left_and_nobody_else_reads_it(folder: Path) -> None:
    with Spools(folder, 1).open() as spool:
        _filled(spool, 100)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert list(folder.iterdir()) == []
        (name,) = _held(folder)
        assert name.endswith("(deleted)")
    assert _held(folder) == []
    with pytest.raises(Unavailable):
        spool[0:1]


def _held(folder: Path) -> list[str]:
    """The files in the folder that this process has open."""
    names = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            names.append(os.readlink(each))
    return [name for name in names if name.startswith(str(folder))]


def test_what_an_earlier_process_left_is_swept(folder: Path) -> None:
    folder.mkdir()
    (folder / "tmp1").write_bytes(b"x")
    Spools(folder, 1)
    assert list(folder.iterdir()) == []


def test_there_are_only_so_many(folder: Path) -> None:
    spools = Spools(folder, 2)
    with spools.open(), spools.open(), pytest.raises(Unavailable), spools.open():
        pass
    with spools.open(), spools.open():
        pass


def test_a_disk_that_says_no(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("no folder")
    with Spools(tmp_path / "spool", 1).open() as spool, pytest.raises(Unavailable, match="cannot spool the devices"):
        spool.add(["a"], [2], 100)


async def test_closing_waits_for_a_call_on_another_thread(folder: Path) -> None:
    ids = [f"m-{number}" for number in range(50_000)]
    with Spools(folder, 1).open() as spool:
        adding = asyncio.create_task(asyncio.to_thread(spool.add, ids, list(range(len(ids))), 100))
        await asyncio.sleep(0.005)
        adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding


def test_the_hash_of_a_request_is_that_of_its_canonical_json() -> None:
    """It is stored with every task: it must not change from one version to the next."""
    request = msgspec.json.decode(
        '{"devices":["m-1","ü\\"x"],"commandType":"READ_CLOCK","commandId":"c","commandParams":{"b":1,"a":[2.5]},'
        '"scheduledAt":"2031-01-01T00:00:00Z","retry":{"maxAttempts":3},"allowUnknown":true}',
        type=SubmitRequest,
    )
    known = "431c93c64adf5ff448f00d7eae613855b23fa3acbbf640f9ff12823de26c422c"
    assert request.body_hash() == known
    fields = {name: getattr(request, name) for name in SubmitHeader.__struct_fields__}
    by_parts = BodyHash(SubmitHeader(**fields))
    for part in ([], ["m-1"], [], ['ü"x'], []):
        by_parts.add(part)
    assert by_parts.hexdigest() == known
