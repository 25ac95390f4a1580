"""A CDI specification as text, with the same bytes for the same content; absent values are left out, as the reference does."""

from __future__ import annotations

import json
from typing import Any

from runtime.gpu.cdi.document import ContainerEdits, Hook, Mount, Node, Specification


def as_json(spec: Specification) -> str:
    return json.dumps(document(spec), indent=2) + "\n"


def as_yaml(spec: Specification) -> str:
    from runtime.gpu.cdi.strict_yaml import dump

    return "---\n" + dump(document(spec))


def document(spec: Specification) -> dict[str, Any]:
    """*spec* as JSON values, keys in the order of the standard."""
    return _present(
        cdiVersion=spec.version,
        kind=spec.kind,
        annotations=dict(spec.annotations),
        devices=[
            _present(name=one.name, annotations=dict(one.annotations), containerEdits=_edits(one.edits)) for one in spec.devices
        ],
        containerEdits=_edits(spec.edits),
    )


def _edits(edits: ContainerEdits) -> dict[str, Any]:
    return _present(
        env=list(edits.env),
        deviceNodes=[_node(one) for one in edits.nodes],
        netDevices=[{"hostInterfaceName": one.host_name, "name": one.name} for one in edits.net_devices],
        hooks=[_hook(one) for one in edits.hooks],
        mounts=[_mount(one) for one in edits.mounts],
        intelRdt=edits.intel_rdt,
        additionalGids=list(edits.additional_gids),
    )


def _node(node: Node) -> dict[str, Any]:
    return _present(
        path=node.path,
        hostPath=node.host_path,
        type=node.type,
        major=node.major,
        minor=node.minor or None,  # the reference leaves out zeros, too
        fileMode=node.file_mode,
        permissions=node.permissions,
        uid=node.uid,
        gid=node.gid,
    )


def _mount(mount: Mount) -> dict[str, Any]:
    return _present(hostPath=mount.host_path, containerPath=mount.container_path, options=list(mount.options), type=mount.type)


def _hook(hook: Hook) -> dict[str, Any]:
    return _present(hookName=hook.name, path=hook.path, args=list(hook.args), env=list(hook.env), timeout=hook.timeout)


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, [], {})}
