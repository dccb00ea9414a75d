"""Free memory as Linux tells it, read from folders that look like /proc and /sys."""

import pytest

from edgechaos.errors import UserError
from edgechaos.runs import machine

GIB = 2**30


def make(root, groups, files):
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text("MemTotal: 99000000 kB\nMemFree: 100 kB\nMemAvailable: 62914560 kB\n")
    (root / "proc" / "self" / "cgroup").write_text(groups)
    for name, number in files.items():
        path = root / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")
    return root


def test_the_cache_of_files_counts_as_free(tmp_path):
    assert machine.free_memory(make(tmp_path, "0::/\n", {})) == 60 * GIB


V2 = {"memory.max": 8 * GIB, "memory.current": 5 * GIB, "memory.stat": f"anon 1\ninactive_file {GIB}\nfile 7"}
V1 = {
    "memory.limit_in_bytes": 8 * GIB,
    "memory.usage_in_bytes": 5 * GIB,
    "memory.stat": f"inactive_file 3\ntotal_inactive_file {GIB}",
}


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/\n", V2),
        ("0::/user/job.scope\n", {f"user/{name}": number for name, number in V2.items()}),  # the limit of a group above
        ("0::/docker/abc\n", V2),  # a path from outside the container
        ("5:cpu,cpuacct:/\n3:memory:/job\n0::/\n", {f"memory/job/{name}": number for name, number in V1.items()}),
        ("3:memory:/docker/abc\n", {f"memory/{name}": number for name, number in V1.items()}),
    ],
)
def test_the_limit_of_the_container_counts(tmp_path, groups, files):
    assert machine.free_memory(make(tmp_path, groups, files)) == 4 * GIB


def test_no_limit_and_a_limit_that_is_used_up(tmp_path):
    assert machine.free_memory(make(tmp_path / "a", "0::/\n", {**V2, "memory.max": "max"})) == 60 * GIB
    assert machine.free_memory(make(tmp_path / "b", "0::/\n", {**V2, "memory.current": 12 * GIB})) == 0


def test_systems_without_such_files_have_memory_too(tmp_path):
    assert machine.free_memory(tmp_path) > 0


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda: 4 * GIB)
    machine.require_memory("maps", 1.9 * GIB, "take fewer")
    with pytest.raises(
        UserError, match=r"maps need 2.1 GiB of memory, but half of the free memory is 2 GiB; take fewer"
    ):
        machine.require_memory("maps", 2.1 * GIB, "take fewer")
