"""A CDI specification as text, read strictly and written with the same bytes for the same content.

Strictly: no key twice, texts as keys. Written: absent values are left out, as the reference does. The only place of PyYAML in
`runtime`, imported when a file is YAML.
"""

from __future__ import annotations

import json
from typing import Any

from runtime.errors import BadContent
from runtime.gpu.cdi.document import ContainerEdits, Hook, Mount, Node, Specification


def parse_json(text: str) -> Any:
    """The document in *text*. Raises BadContent."""
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise BadContent(f"it is not JSON: {error}") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadContent(f"key `{twice}` is there twice")
    return document


def parse_yaml(text: str) -> Any:
    """The one document in *text*. Raises BadContent."""
    import yaml

    class Strict(yaml.SafeLoader):
        """SafeLoader that refuses a second key of the same name; it has no anchors' merge keys either."""

    def construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise BadContent(f"line {line}: the key {key!r} is not a text")
            if key in found:
                raise BadContent(f"line {line}: key `{key}` is there twice")
            found[key] = loader.construct_object(value_node, deep=True)
        return found

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct_mapping)
    try:
        return yaml.load(text, Loader=Strict)
    except (yaml.YAMLError, ValueError) as error:  # the latter of a day or a number that there is not
        raise BadContent(f"it is not YAML: {' '.join(str(error).split())}") from error


def as_json(spec: Specification) -> str:
    return json.dumps(document(spec), indent=2) + "\n"


def as_yaml(spec: Specification) -> str:
    """Keys in the order of the standard, one value a line."""
    import yaml

    text = yaml.safe_dump(document(spec), sort_keys=False, default_flow_style=False, width=1 << 16, allow_unicode=True)
    return f"---\n{text}"


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
        minor=node.minor,
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
