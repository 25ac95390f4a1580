"""`--systemd-cgroup`: `cgroupsPath` is SLICE:PREFIX:NAME, and the cgroup is the scope PREFIX-NAME.scope in that slice. No I/O."""

from __future__ import annotations

from runtime.errors import ContainerError


def cgroup_path(path: str | None, container_id: str) -> str:
    """Where systemd would put the scope (systemd.slice(5): dashes in a slice's name are levels)."""
    slice_name, prefix, name = "system.slice", "launch", container_id
    if path is not None:
        parts = path.split(":")
        if len(parts) != 3:
            raise ContainerError(f"`linux.cgroupsPath` is not SLICE:PREFIX:NAME: `{path}`")
        slice_name, prefix, name = parts[0] or slice_name, parts[1], parts[2] or name
    if not slice_name.endswith(".slice") or "/" in slice_name or ".." in name or "/" in name:
        raise ContainerError(f"not a slice of systemd: `{slice_name}`")
    words = slice_name.removesuffix(".slice").split("-")
    levels = [] if slice_name == "-.slice" else ["-".join(words[: count + 1]) + ".slice" for count in range(len(words))]
    unit = name if name.endswith(".slice") else f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    return "/" + "/".join([*levels, unit])
