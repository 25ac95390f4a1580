"""Device nodes of a MIG instance: its GPU's own, and the two capability nodes that open the slice.

Which `/dev/nvidia-caps/nvidia-cap<N>` belongs to `gpu<minor>/gi<g>/access` and `gpu<minor>/gi<g>/ci<c>/access` stands in
`/proc/driver/nvidia-caps/mig-minors`. The number behind `gpu` is the minor of the GPU, neither its index nor its order.
"""

from __future__ import annotations

import re

from runtime.errors import GpuError
from runtime.gpu.device_nodes import node
from runtime.gpu.edits import DeviceFile
from runtime.gpu.gpu import MigInstance
from runtime.gpu.roots import Roots

_PLACE = "proc/driver/nvidia-caps/mig-minors"
_NODE = re.compile(r"/dev/nvidia-caps/nvidia-cap(\d+)")


def capability_nodes(gpu_minor: int, instance: MigInstance, roots: Roots) -> tuple[DeviceFile, ...]:
    """The two nodes of *instance*. Raises GpuError when the kernel lists none."""
    minors = mig_minors(roots)
    slices = f"gpu{gpu_minor}/gi{instance.gpu_instance}"
    nodes = []
    for path in (f"{slices}/access", f"{slices}/ci{instance.compute_instance}/access"):
        if path not in minors:
            raise GpuError(
                f"MIG instance `{instance.uuid}` has no capability node: `{roots.proc / _PLACE}` lists no `{path}`",
                hint="`nvidia-smi mig -lci` lists the instances; after a change the driver makes its nodes anew",
            )
        nodes.append(node(f"/dev/nvidia-caps/nvidia-cap{minors[path]}", roots))
    return tuple(nodes)


def mig_minors(roots: Roots) -> dict[str, int]:
    """`gpu0/gi1/access` → N of its node. Empty without MIG."""
    try:
        lines = (roots.proc / _PLACE).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def opened_by(nodes: tuple[DeviceFile, ...], roots: Roots) -> tuple[str, ...]:
    """The paths of mig-minors that the capability nodes among *nodes* stand for."""
    numbers = {int(found[1]) for one in nodes if (found := _NODE.fullmatch(one.target))}
    return tuple(path for path, number in mig_minors(roots).items() if number in numbers)
