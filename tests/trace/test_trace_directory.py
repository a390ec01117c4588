"""Traces never take more than they may, and nothing that is not theirs is touched."""

from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from metercast.trace.directory import TraceDirectory


def directory(path: Path, limit: int = 8000, **options: int) -> TraceDirectory:
    seconds = count()
    return TraceDirectory(path, limit, now=lambda: datetime.fromtimestamp(1000 + next(seconds), UTC), **options)


def write(traces: TraceDirectory, octets: int = 900, subject: str = "m") -> str:
    files = traces.begin(subject)
    assert files is not None
    files.pcap.write(b"x" * octets)
    traces.end(files)
    return files.name


def total(path: Path) -> int:
    return sum(each.stat().st_size for each in path.iterdir())


def test_the_oldest_make_room(tmp_path: Path) -> None:
    traces = directory(tmp_path)
    names = [write(traces) for _ in range(30)]
    assert total(tmp_path) <= 8000
    left = sorted(each.stem for each in tmp_path.glob("*.pcap"))
    assert left == names[-len(left) :]
    assert len(left) >= 7


def test_the_number_of_sessions_is_limited_as_well(tmp_path: Path) -> None:
    traces = directory(tmp_path, max_sessions=5)
    for _ in range(12):
        write(traces, 1)
    assert len(list(tmp_path.glob("*.log"))) == 5


def test_what_a_former_process_left_counts_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "other.pcap").write_text("mine")
    first = directory(tmp_path)
    for _ in range(8):
        write(first)
    again = directory(tmp_path)
    assert again.size == first.size
    for _ in range(20):
        write(again)
    assert (tmp_path / "notes.txt").read_text() == (tmp_path / "other.pcap").read_text() == "mine"
    assert total(tmp_path) <= 8000 + 8


def test_sessions_under_way_are_never_deleted(tmp_path: Path) -> None:
    traces = directory(tmp_path)
    held = [traces.begin(f"m-{number}") for number in range(8)]
    assert all(held)
    assert traces.begin("one too many") is None
    for files in held:
        assert files is not None
        traces.end(files)
    assert traces.begin("now there is room") is not None


def test_names_are_safe_and_files_are_for_their_owner(tmp_path: Path) -> None:
    traces = directory(tmp_path / "made")
    names = [write(traces, subject=subject) for subject in ("../../etc/passwd", "a b/ü", "", "x" * 500)]
    assert {each.parent for each in (tmp_path / "made").iterdir()} == {tmp_path / "made"}
    assert names[0].split("-")[1] == ".._.._etc_passwd"
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in (tmp_path / "made").iterdir())
    assert len({*names}) == 4
