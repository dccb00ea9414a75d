"""A run on the host: fields of a config, work directories, members and their groups, resume, several processes."""

from edgechaos.errors import extra

with extra("experiments"):
    from edgechaos.runs.machine import free_memory, processor
    from edgechaos.runs.run import chosen_devices, find_kernels, run_sweep
    from edgechaos.runs.workdir import (
        keep_kernels,
        read_json,
        read_kernels,
        record_provenance,
        revision,
        sequence,
        work_directory,
        write_json,
    )

__all__ = [
    "chosen_devices",
    "find_kernels",
    "free_memory",
    "keep_kernels",
    "processor",
    "read_json",
    "read_kernels",
    "record_provenance",
    "revision",
    "run_sweep",
    "sequence",
    "work_directory",
    "write_json",
]
