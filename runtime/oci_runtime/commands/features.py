"""`features`: what this runtime knows (runtime-spec, features.md), whatever this machine can do."""

from __future__ import annotations

import json
from typing import Any

from runtime.kernel import capabilities
from runtime.oci.linux_config import NAMESPACES
from runtime.oci_runtime.command_line import Command, Context, Parsed
from runtime.oci_runtime.mounts import mount_options
from runtime.oci_runtime.process import seccomp_compile
from runtime.oci_runtime.record import OCI_VERSION


def _features(given: Parsed, context: Context) -> int:
    print(json.dumps(document(), indent=2))
    return 0


def document() -> dict[str, Any]:
    """The features."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": mount_options.known_options(),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(capabilities.NUMBERS),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp_compile.ACTIONS),
                "operators": sorted(seccomp_compile.OPERATORS),
                "archs": sorted(seccomp_compile.NATIVE.values()),
                "knownFlags": sorted(seccomp_compile.FLAGS),
                "supportedFlags": sorted(seccomp_compile.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": [],
    }


COMMANDS = {"features": Command("", (), _features)}
