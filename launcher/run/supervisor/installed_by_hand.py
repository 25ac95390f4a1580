"""What somebody installed with pip or apt in a container to work in, found in its writable layer before that goes, and the lines
of YAML that would make it permanent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from runtime.light_typing import NamedTuple
from runtime.oci.digest import Digest
from runtime.rootfs.overlay import UPPER
from runtime.state_dir import RunDir
from runtime.store.installed_packages import paragraphs
from runtime.store.store import Store

_STATUS = "var/lib/dpkg/status"
_MARKS = "var/lib/apt/extended_states"


class Installed(NamedTuple):
    """What was named, and not what came along with that."""

    requirements: tuple[str, ...]
    """`name==version`."""
    packages: tuple[str, ...]
    """Debian's."""


def find_installed(run_dir: RunDir) -> Installed:
    written = run_dir.overlay / UPPER
    return Installed(tuple(sorted(_asked_of_pip(written))), tuple(sorted(_asked_of_apt(written, run_dir))))


def installed_by_hand(run_dir: RunDir) -> str | None:
    """In words, with the YAML; None when nothing was. Idempotent."""
    requirements, packages = find_installed(run_dir)
    if not requirements and not packages:
        return None
    groups = {"requirements": requirements, "apt": packages}
    lines = [f"      {name}: {json.dumps(listed)}" for name, listed in groups.items() if listed]
    what = ", ".join([*requirements, *packages])
    return "\n".join([f"installed by hand, and gone now: {what}; to have it always:", "image:", "  groups:", "    more:", *lines])


def _asked_of_pip(written: Path) -> Iterator[str]:
    """`name==version` of what was named to pip or uv: the file REQUESTED tells it from what came with that (PEP 376)."""
    for directory, names, _files in os.walk(written):
        if os.path.basename(directory) not in ("site-packages", "dist-packages"):
            continue
        for info in (name for name in names if name.endswith(".dist-info")):
            place = Path(directory, info)
            if (place / "REQUESTED").exists() and not (place / "direct_url.json").exists():
                name, _, version = info.removesuffix(".dist-info").partition("-")
                yield f"{name}=={version}"
        names.clear()


def _asked_of_apt(written: Path, run_dir: RunDir) -> set[str]:
    """Packages that the image has not, without those that apt installed for others."""
    now = _by_package(written / _STATUS)
    if not now:
        return set()
    document = json.loads(run_dir.plan.read_bytes())
    store = Store(run_dir.state.store)
    layers = [store.layer_dir(layer) for layer in store.image(Digest(document["image_digest"])).layers]
    before = next((found for layer in reversed(layers) if (found := _by_package(layer / _STATUS))), {})
    marks = _by_package(written / _MARKS)
    installed = {name for name, fields in now.items() if fields.get("status", [""])[0].endswith(" installed")}
    return {name for name in installed - set(before) if marks.get(name, {}).get("auto-installed") != ["1"]}


def _by_package(file: Path) -> dict[str, dict[str, list[str]]]:
    """Fields of each paragraph of a Debian control file, by its package."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return {}
    return {fields["package"][0]: fields for fields in paragraphs(text) if "package" in fields}
