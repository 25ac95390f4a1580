"""Limits as contents of cgroup files, for v1 and v2, in the words of a bundle's `linux.resources` (config-linux.md, "Control
groups"; cgroup-v2.rst). No I/O.

What v2 counts differently is translated as runc and crun do: shares to a weight, swap without memory, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.cgroup.control_file import Setting
from runtime.errors import ContainerError
from runtime.oci.resource_config import BlockIo, Cpu, Memory, Resources


def v1_settings(resources: Resources) -> list[Setting]:
    """In an order that the kernel accepts for a new cgroup."""
    wanted = [*_v1_memory(resources.memory), *_v1_cpu(resources.cpu), *_v1_block_io(resources.block_io)]
    if resources.pids is not None:
        wanted.append(Setting("pids", "pids.max", _or_max(resources.pids)))
    for size, limit in resources.huge_pages:
        wanted.append(Setting("hugetlb", f"hugetlb.{size}.limit_in_bytes", str(limit)))
    if resources.network_class is not None:
        wanted.append(Setting("net_cls", "net_cls.classid", str(resources.network_class)))
    for name, priority in resources.network_priorities:
        wanted.append(Setting("net_prio", "net_prio.ifpriomap", f"{name} {priority}"))
    return [*wanted, *_rdma(resources)]


def _v1_memory(memory: Memory) -> list[Setting]:
    wanted = []
    if memory.limit is not None:
        wanted.append(Setting("memory", "memory.limit_in_bytes", str(memory.limit)))
    if memory.swap is not None:
        wanted.append(Setting("memory", "memory.memsw.limit_in_bytes", str(memory.swap), required=False))
    if memory.reservation is not None:
        wanted.append(Setting("memory", "memory.soft_limit_in_bytes", str(memory.reservation)))
    if memory.kernel is not None:
        # Linux took the file away (5.16): runtimes ignore it.
        wanted.append(Setting("memory", "memory.kmem.limit_in_bytes", str(memory.kernel), required=False))
    if memory.kernel_tcp is not None:
        wanted.append(Setting("memory", "memory.kmem.tcp.limit_in_bytes", str(memory.kernel_tcp), required=False))
    if memory.swappiness is not None:
        wanted.append(Setting("memory", "memory.swappiness", str(memory.swappiness)))
    if memory.disable_oom_killer:
        wanted.append(Setting("memory", "memory.oom_control", "1"))
    return wanted


def _v1_cpu(cpu: Cpu) -> list[Setting]:
    files = (
        ("cpu", "cpu.shares", cpu.shares or None),
        ("cpu", "cpu.idle", cpu.idle),
        ("cpu", "cpu.cfs_period_us", cpu.period or None),
        ("cpu", "cpu.cfs_quota_us", cpu.quota or None),
        ("cpu", "cpu.cfs_burst_us", cpu.burst),
        ("cpu", "cpu.rt_period_us", cpu.realtime_period or None),
        ("cpu", "cpu.rt_runtime_us", cpu.realtime_runtime or None),
        ("cpuset", "cpuset.cpus", cpu.cpus),
        ("cpuset", "cpuset.mems", cpu.mems),
    )
    return [Setting(controller, file, str(value)) for controller, file, value in files if value is not None]


def _v1_block_io(block_io: BlockIo) -> list[Setting]:
    wanted = []
    if block_io.weight:
        wanted.append(Setting("blkio", "blkio.bfq.weight", str(block_io.weight), required=False))
    for one in block_io.weight_devices:
        if one.weight:
            wanted.append(Setting("blkio", "blkio.bfq.weight_device", f"{one.major}:{one.minor} {one.weight}", required=False))
    for throttle in block_io.throttles:
        file = f"blkio.throttle.{throttle.what}_device"
        wanted.append(Setting("blkio", file, f"{throttle.major}:{throttle.minor} {throttle.rate}"))
    return wanted


def v2_settings(resources: Resources) -> list[Setting]:
    """The same for the unified hierarchy; `unified` comes last, since it has the last word."""
    wanted = [*_v2_memory(resources.memory), *_v2_cpu(resources.cpu), *_v2_io(resources.block_io)]
    if resources.pids is not None:
        wanted.append(Setting("pids", "pids.max", _or_max(resources.pids)))
    for size, limit in resources.huge_pages:
        wanted.append(Setting("hugetlb", f"hugetlb.{size}.max", str(limit)))
        wanted.append(Setting("hugetlb", f"hugetlb.{size}.rsvd.max", str(limit), required=False))
    wanted += _rdma(resources)
    return [*wanted, *(Setting(file.partition(".")[0], file, value) for file, value in resources.unified)]


def _v2_memory(memory: Memory) -> list[Setting]:
    wanted = []
    if memory.swap is not None:
        wanted.append(Setting("memory", "memory.swap.max", _v2_swap(memory), required=False))
    if memory.limit is not None and memory.limit != 0:
        wanted.append(Setting("memory", "memory.max", _or_max(memory.limit)))
    if memory.reservation is not None and memory.reservation != 0:
        wanted.append(Setting("memory", "memory.low", _or_max(memory.reservation)))
    return wanted


def _v2_swap(memory: Memory) -> str:
    """v1 counts memory and swap together, v2 swap alone."""
    assert memory.swap is not None
    if memory.swap < 0:
        return "max"
    if memory.limit is None or memory.limit < 0:
        if memory.swap == 0:
            return "max"
        raise ContainerError("`linux.resources.memory.swap` is set without a limit of memory")
    if memory.swap < memory.limit:
        raise ContainerError(f"memory and swap together ({memory.swap}) are limited to less than memory ({memory.limit})")
    return str(memory.swap - memory.limit)


def _v2_cpu(cpu: Cpu) -> list[Setting]:
    wanted = []
    if cpu.shares:
        wanted.append(Setting("cpu", "cpu.weight", str(weight_of_shares(cpu.shares))))
    if cpu.idle is not None:
        wanted.append(Setting("cpu", "cpu.idle", str(cpu.idle)))
    if cpu.quota or cpu.period:
        quota = str(cpu.quota) if cpu.quota and cpu.quota > 0 else "max"
        wanted.append(Setting("cpu", "cpu.max", f"{quota} {cpu.period or 100000}"))
    if cpu.burst is not None:
        wanted.append(Setting("cpu", "cpu.max.burst", str(cpu.burst)))
    if cpu.cpus is not None:
        wanted.append(Setting("cpuset", "cpuset.cpus", cpu.cpus))
    if cpu.mems is not None:
        wanted.append(Setting("cpuset", "cpuset.mems", cpu.mems))
    return wanted


def weight_of_shares(shares: int) -> int:
    """cpu.weight (1 to 10000) for cpu.shares (2 to 262144), as runc and crun compute it."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def _v2_io(block_io: BlockIo) -> list[Setting]:
    wanted = []
    if block_io.weight:
        weight = 1 + (block_io.weight - 10) * 9999 // 990
        wanted.append(Setting("io", "io.bfq.weight", str(block_io.weight), required=False))
        wanted.append(Setting("io", "io.weight", str(weight), required=False))
    for one in block_io.weight_devices:
        if one.weight:
            wanted.append(Setting("io", "io.bfq.weight", f"{one.major}:{one.minor} {one.weight}", required=False))
    names = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}
    for throttle in block_io.throttles:
        wanted.append(Setting("io", "io.max", f"{throttle.major}:{throttle.minor} {names[throttle.what]}={throttle.rate}"))
    return wanted


def _rdma(resources: Resources) -> Sequence[Setting]:
    wanted = []
    for device, handles, objects in resources.rdma:
        words = [device]
        words += [f"hca_handle={handles}"] if handles is not None else []
        words += [f"hca_object={objects}"] if objects is not None else []
        wanted.append(Setting("rdma", "rdma.max", " ".join(words)))
    return wanted


def _or_max(value: int) -> str:
    return str(value) if value >= 0 else "max"
