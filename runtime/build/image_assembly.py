"""Layers become an image: which of them share a layer of the manifest, and the OCI documents.

An overlay takes 500 snapshots, a manifest 100 layers (Docker refuses about 125). Where wheels are more than fit, the largest
keep a layer of their own, since they are what one doesn't want to send again, and the rest share 16 by hash of the name: a
changed small wheel changes one of the 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from runtime.build.cache_key import ASSEMBLY_VERSION, step_key
from runtime.build.plan import BuildPlan, ImageConfig, ImportImage, InstallWheel, Step
from runtime.build.step_label import created_by
from runtime.oci.digest import Digest, canonical_json, digest_bytes, digest_chunks, digest_json
from runtime.oci.image_documents import CONFIG, LAYER, Descriptor, Manifest
from runtime.store.records import Image, Layer
from runtime.store.store import Store

MANIFEST_LAYERS = 100
SHARED_LAYERS = 16

BuiltLayers = Sequence[tuple[Step, Layer]]
"""Bottom to top; an imported image's step comes once for each of its layers."""


def assemble(plan: BuildPlan, built: BuiltLayers, store: Store, *, key: Digest) -> Image:
    """Store the image of *plan* made of *built*, under plan key *key*."""
    layers = [layer for _, layer in built]
    groups = group_layers(built)
    streams = [_stream(store, layers, groups, which) for which in range(len(groups))]
    history = _history(plan, [built[group[0]][0] for group in groups], store)
    config = config_document(plan, history, [digest for digest, _ in streams])
    encoded = canonical_json(config)
    manifest = Manifest(
        Descriptor(CONFIG, digest_bytes(encoded), len(encoded)),
        tuple(Descriptor(LAYER, digest, size) for digest, size in streams),
    )
    return store.put_image(config=config, manifest=manifest.to_json(), layers=layers, groups=groups, plan_key=key)


def group_layers(built: BuiltLayers) -> tuple[tuple[int, ...], ...]:
    """For each layer of the manifest, bottom to top, the positions in *built* that it is made of."""
    wheels = [position for position, (step, _) in enumerate(built) if isinstance(step, InstallWheel)]
    room = MANIFEST_LAYERS - (len(built) - len(wheels))
    if len(wheels) <= max(room, SHARED_LAYERS):
        return tuple((position,) for position in range(len(built)))
    by_size = sorted(wheels, key=lambda position: (-built[position][1].size_bytes, built[position][1].diff_id))
    small = set(by_size[max(room - SHARED_LAYERS, 0) :])
    shared: dict[int, list[int]] = {}
    for position in sorted(small):
        shared.setdefault(_share(built[position][0]), []).append(position)
    last_wheel = wheels[-1]
    before = [(position,) for position in range(last_wheel + 1) if position not in small]
    after = [(position,) for position in range(last_wheel + 1, len(built))]
    return (*before, *(tuple(shared[share]) for share in sorted(shared)), *after)


def _share(step: Step) -> int:
    assert isinstance(step, InstallWheel)
    return hashlib.sha256(step.name.encode()).digest()[0] % SHARED_LAYERS


def _stream(store: Store, layers: Sequence[Layer], groups: Sequence[tuple[int, ...]], which: int) -> tuple[Digest, int]:
    """Digest and size of the tar stream of one layer of the manifest."""
    group = groups[which]
    if len(group) == 1:
        layer = layers[group[0]]
        return layer.diff_id, layer.size_bytes
    from runtime.layer.archive import merged_tar_chunks
    from runtime.store.image_blobs import join_entries

    key = digest_json(
        {
            "kind": "joined-layers",
            "version": ASSEMBLY_VERSION,
            "layers": [layer.diff_id for layer in layers],
            "groups": [list(each) for each in groups[: which + 1]],
        }
    )
    known = store.recall(key)
    if known is not None:
        return Digest(known["digest"]), known["bytes"]
    digest, size = digest_chunks(merged_tar_chunks(join_entries(store, layers, groups, which)))
    store.remember(key, {"digest": digest, "bytes": size})
    return digest, size


def _history(plan: BuildPlan, steps: Sequence[Step], store: Store) -> list[dict[str, Any]]:
    """One entry for each layer of the manifest, made by *steps*; those of an imported base are its own, with the ones of
    instructions that made no layer."""
    imported = [step for step in steps if isinstance(step, ImportImage)]
    entries = [{"created": _created(plan), "created_by": created_by(step)} for step in steps]
    if not imported:
        return entries
    base = (store.key_fields(step_key(imported[0], None)) or {}).get("config", {}).get("history")
    own = [entry for entry in base if isinstance(entry, dict)] if isinstance(base, list) else []
    if sum(not entry.get("empty_layer") for entry in own) != len(imported):
        return entries  # a history is optional (config.md), and this one says nothing of these layers
    return own + entries[len(imported) :]


def _created(plan: BuildPlan) -> str:
    return datetime.fromtimestamp(plan.source_date_epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def config_document(plan: BuildPlan, history: Sequence[dict[str, Any]], diff_ids: Sequence[Digest]) -> dict[str, Any]:
    """The image configuration (config.md)."""
    return {
        "created": _created(plan),
        "architecture": plan.config.architecture,
        "os": "linux",
        "config": _execution(plan.config),
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": list(history),
    }


def _execution(config: ImageConfig) -> dict[str, Any]:
    """`config` of the configuration, with the fields that Docker adds to it (moby image-spec v1.2)."""
    fields: dict[str, Any] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in sorted(config.exposed_ports)},
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "Volumes": {volume: {} for volume in sorted(config.volumes)},
        "WorkingDir": config.workdir,
        "Labels": dict(sorted(config.labels.items())),
        "StopSignal": config.stop_signal,
        "Shell": list(config.shell),
        "Healthcheck": config.healthcheck,
        "OnBuild": list(config.onbuild),
    }
    environment = [f"{name}={value}" for name, value in sorted(config.env.items())]
    return {"Env": environment} | {name: value for name, value in fields.items() if value}
