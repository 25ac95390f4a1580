"""`devices:` of an experiment, and what a run's GPUs add to its container: looked up when it is planned, and again at its start.

/dev/kvm                a device node of this machine
vendor.com/class=name   a CDI device (`/etc/cdi`, `/var/run/cdi`, or the directories in LAUNCH_CDI_DIRS)
gds, gdrcopy, imex:N    doors of the NVIDIA driver that nobody gets unasked
infiniband              RDMA devices
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import ConfigError
from launcher.plan.gpus.image_libraries import directory_in, image_notes
from launcher.plan.origins import Where
from runtime.errors import GpuError
from runtime.gpu.edits import Edits, join_edits
from runtime.suggestions import did_you_mean

if TYPE_CHECKING:
    from runtime.container.spec import ContainerSpec
    from runtime.gpu.cdi.document import DeviceName
    from runtime.gpu.gpu import Gpu
    from runtime.gpu.nvidia.forward_compat import Decision


def with_gpus(container: ContainerSpec, uuids: Sequence[str]) -> ContainerSpec:
    """*container* with the leased *uuids*, and with the image's own libcuda before the driver's where that one is to be used."""
    from runtime.container.device_edits import apply_edits
    from runtime.gpu.inject import injection
    from runtime.gpu.inventory import read_gpus
    from runtime.gpu.nvidia.driver_files import capabilities
    from runtime.gpu.nvidia.forward_compat import DIRECTORY

    gpus = read_gpus()
    wanted = capabilities(container.env.get("NVIDIA_DRIVER_CAPABILITIES"))
    edits = injection(gpus, uuids, capabilities=wanted)
    leased = [gpu for gpu in gpus if gpu.uuid in uuids or any(one.uuid in uuids for one in gpu.mig)]
    compat = _compat_note(container, leased)
    first = (DIRECTORY,) if compat is not None and compat.use else ()
    notes = () if compat is None else (compat.why,)
    return apply_edits(container, edits.plus(Edits(notes=(*notes, *image_notes(container, edits)))), loader_first=first)


def _compat_note(container: ContainerSpec, leased: Sequence[Gpu]) -> Decision | None:
    from runtime.gpu.nvidia.forward_compat import DIRECTORY, compat_in, decide

    driver = next((gpu.driver for gpu in leased if gpu.vendor == "nvidia"), None)
    place = directory_in(container.layers, DIRECTORY)
    compat = None if place is None or driver is None else compat_in(place)
    return None if compat is None or driver is None else decide(compat, driver, leased)


def refuse_unready_driver(gpus: Sequence[Gpu]) -> None:
    """What would only show at the start, after a build: a library that isn't of the kernel module's version, a missing node."""
    from runtime.gpu.inject import nvidia_driver
    from runtime.gpu.roots import Roots

    if any(gpu.vendor == "nvidia" for gpu in gpus):
        nvidia_driver(roots=Roots.of_this_machine())


def edits_for(entries: Sequence[str]) -> Edits:
    """What the entries of `devices` add. Raises GpuError."""
    from runtime.gpu.cdi.document import is_qualified
    from runtime.gpu.cdi.files import read_catalogue
    from runtime.gpu.cdi.resolve import device_edits

    names, parts = [], []
    for entry in entries:
        if is_qualified(entry):
            names.append(_parse_name(entry))
        else:
            parts.append(_own(entry))
    if names:
        parts.append(device_edits(names, read_catalogue(cdi_directories())))
    return join_edits(parts)


def cdi_directories() -> tuple[Path, ...]:
    from runtime.gpu.cdi.files import DIRECTORIES

    named = os.environ.get("LAUNCH_CDI_DIRS")
    return tuple(Path(one) for one in named.split(":") if one) if named else DIRECTORIES


def refuse_missing_devices(entries: Sequence[str], where: Where) -> tuple[str, ...]:
    """Every entry of `devices` must be there now. Returns notes."""
    try:
        return edits_for(entries).notes
    except GpuError as error:
        raise ConfigError(error.message, hint=error.hint, origin=where("devices")) from error


def _parse_name(entry: str) -> DeviceName:
    from runtime.gpu.cdi.document import parse_device_name

    try:
        return parse_device_name(entry)
    except ValueError as error:
        raise GpuError(str(error)) from None


def _own(entry: str) -> Edits:
    from runtime.gpu.node_edits import WORDS, requested_nodes

    if entry.startswith("/") or entry.partition(":")[0] in WORDS:
        return requested_nodes(entry)
    forms = f"a node (`/dev/kvm`), a CDI device (`vendor.com/class=name`), {', '.join(WORDS)}"
    raise GpuError(f"`{entry}` is not a device", hint=did_you_mean(entry, WORDS) or forms)
