"""What a tag in a registry meant when somebody asked: recorded, so that an unchanged launch asks no registry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.oci.digest import Digest, digest_json
from runtime.state_dir import StateDir
from runtime.whole_file import replace_file

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """An answer of a registry."""

    reference: str
    """In full, as `shown_reference` writes it."""
    manifest_digest: Digest
    """Of the image for this machine."""
    config: dict[str, Any]
    """The execution part of its configuration."""
    asked_at: datetime


def read_record(state: StateDir, reference: str, architecture: str) -> ReferenceRecord | None:
    """What is recorded for *reference*; None when nobody has asked, or the record cannot be read."""
    try:
        document = json.loads(_path(state, reference, architecture).read_bytes())
        if document["format"] != _FORMAT:
            return None
        return ReferenceRecord(
            reference=document["reference"],
            manifest_digest=Digest(document["manifest"]),
            config=document["config"],
            asked_at=datetime.fromisoformat(document["asked_at"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_record(
    state: StateDir, reference: str, architecture: str, *, manifest_digest: Digest, config: dict[str, Any]
) -> ReferenceRecord:
    """Record an answer, with the time of now."""
    made = ReferenceRecord(reference, manifest_digest, config, datetime.now(UTC).replace(microsecond=0))
    path = _path(state, reference, architecture)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {
        "format": _FORMAT,
        "reference": reference,
        "architecture": architecture,
        "manifest": manifest_digest,
        "config": config,
        "asked_at": made.asked_at.isoformat(),
    }
    replace_file(path, json.dumps(document))
    return made


def _path(state: StateDir, reference: str, architecture: str) -> Path:
    key = digest_json({"reference": reference, "architecture": architecture})
    return state.cache / "bases" / f"reference-{key.hex}.json"
