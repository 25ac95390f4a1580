"""`launch oci`: the OCI runtime's command line, for podman and whoever else brings a bundle."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    from runtime.oci_runtime.entry import main as run

    return run(list(arguments), program="launch oci")
