"""What the machine of a run is, and what it has to give."""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from edgechaos.errors import UserError

_GIB = 2**30


def processor() -> str:
    """The processor's name, from Linux where it says."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def free_memory(root: Path = Path("/")) -> int:
    """Bytes of memory that the system has to give, its cache of files included, within the container's own limit.

    Args:
      root: above proc and sys, which Linux has; elsewhere half of the machine's memory counts as free.
    """
    free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2]
    with contextlib.suppress(OSError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        free = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")] or free
    return max(0, min([*free, *_rooms_of_groups(root)]))


def _rooms_of_groups(root: Path) -> Iterator[int]:
    """What each memory limit of this process's control groups leaves: version 1 and 2, its own group and those above.

    A container sees its own group as the top of the tree, whatever path the group has outside.
    """
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            top = root / "sys/fs/cgroup" / controllers
            names = ("memory.max", "memory.current", "inactive_file ")
            if controllers:
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(top):
                    yield from _room_of_group(folder, *names)


def _room_of_group(folder: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    """Its limit less its usage, of which the cache of files that nobody uses can be had back; nothing without one."""
    with contextlib.suppress(OSError, ValueError):  # no such group here, or its limit is the word max
        most, used = (int((folder / name).read_text()) for name in (limit, usage))
        lines = (folder / "memory.stat").read_text().splitlines()
        yield most - used + sum(int(line.split()[1]) for line in lines if line.startswith(cache))


def require_memory(what: str, need: float, remedy: str) -> None:
    """Refuses what would need more than half of the free memory, before it begins.

    Raises:
      UserError: says what needs how much, and the way out.
    """
    free = free_memory() / 2  # the other half: programs, evaluation, fragmentation
    if need > free:
        raise UserError(
            f"{what} need {need / _GIB:.3g} GiB of memory, but half of the free "
            f"memory is {free / _GIB:.3g} GiB; {remedy}"
        )
