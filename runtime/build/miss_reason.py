"""Why a step has to be done again: its key's fields against those of the last layer of the same kind and name.

The store keeps the fields beside each key. Code is compared by file, packages by name and version; a digest says that
something changed and not what. Hits have no reason, and nothing is changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runtime.build.builder import StepState
from runtime.build.cache_key import key_fields
from runtime.build.plan import CopyIn
from runtime.layer.tree import TreeEntry
from runtime.oci.digest import Digest
from runtime.store.records import Image
from runtime.store.store import Store

_MOST_NAMED = 6
_LINK_MODE = 0o120777
_SAME_THING = {
    "install-wheel": ("name",),
    "copy-in": ("target",),
    "run-command": ("argv",),
    "unpack-debs": ("suite",),
    "import-image": (),
    "make-venv": (),
}
"""Kind → the fields that say that two layers are versions of one thing."""

_WORDS = {"wheel_version": "version", "version": "layer format", "parent": "layers below", "snapshot": "code"}

_IMPLIES = {"wheel_version": ("filename", "sha256"), "filename": ("sha256",), "interpreter": ("python", "executable")}
"""A changed field → those that change with it and say nothing more."""

Known = Sequence[tuple[Digest, dict[str, Any]]]
"""Keys and their fields, the preferred first."""


def miss_reasons(states: Sequence[StepState], store: Store, *, last: Image | None = None) -> list[tuple[str, ...]]:
    """For each of *states* what changed, in words; nothing for a hit. Compared with the layers of *last* (what was built for the
    same purpose the last time) where it has such a layer, else with the newest in the store."""
    if all(state.layer is not None for state in states):
        return [()] * len(states)
    of_last = [(layer.key, store.key_fields(layer.key)) for layer in (last.layers if last is not None else ())]
    known = [*((key, fields) for key, fields in of_last if fields is not None), *store.described_keys()]
    return [() if state.layer is not None else _reasons(state, known, store) for state in states]


def _reasons(state: StepState, known: Known, store: Store) -> tuple[str, ...]:
    if state.key is None:
        return ("depends on a layer below that has to be built first",)
    fields = key_fields(state.step, state.parent)
    if any(key == state.key for key, _ in known):
        return ("was built before, and its layer is no longer in the store",)
    earlier = next((each for each in known if _is_same_thing(fields, each[1])), None)
    if earlier is None:
        return ("was never built here",)
    key, before = earlier
    changed = [name for name in fields if fields[name] != before.get(name)]
    implied = {name for cause in changed for name in _IMPLIES.get(cause, ())}
    reasons = []
    for name in (name for name in changed if name not in implied):
        if name == "snapshot" and isinstance(state.step, CopyIn):
            reasons.append(_code_changes(state.step, key, store))
        else:
            reasons.append(_change(name, before.get(name), fields[name]))
    return tuple(reasons)


def _is_same_thing(fields: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    kind = fields["kind"]
    # Debian packages on a base are another thing than the base; only they have a parent.
    if other.get("kind") != kind or ("parent" in fields) != ("parent" in other):
        return False
    return all(fields.get(name) == other.get(name) for name in _SAME_THING[kind])


def _change(name: str, before: Any, now: Any) -> str:
    if name == "packages":
        return _package_changes(before or [], now or [])
    word = _WORDS.get(name, name)
    if all(isinstance(value, (str, int)) for value in (before, now)) and name not in ("parent", "snapshot"):
        return f"{word}: {_shown(before)} → {_shown(now)}"
    return f"{word} changed"


def _shown(value: object) -> str:
    text = str(value)
    bare = text.removeprefix("sha256:")
    return bare[:12] if len(bare) == 64 and not set(bare) - set("0123456789abcdef") else text


def _package_changes(before: Iterable[Sequence[str]], now: Iterable[Sequence[str]]) -> str:
    old, new = ({package[0]: package for package in packages} for packages in (before, now))
    both = [name for name in new if name in old and old[name] != new[name]]
    words = [f"{name} {old[name][1]} → {new[name][1]}" for name in both if old[name][1] != new[name][1]]
    words += [f"{name} {new[name][1]} is another file" for name in both if old[name][1] == new[name][1]]
    words += [f"{name} added" for name in new if name not in old] + [f"{name} removed" for name in old if name not in new]
    return f"packages: {_listed(words)}"


def _code_changes(step: CopyIn, key: Digest, store: Store) -> str:
    """Which files differ from the layer of *key*, while that is still there."""
    layer = store.find(key)
    if layer is None:
        return "code changed"
    top = step.target.strip("/") + "/"
    inside = (entry for entry in store.tree_of(layer) if entry.type != "dir" and entry.path.startswith(top))
    old = {entry.path.removeprefix(top): _as_in_a_snapshot(entry) for entry in inside}
    new = {path: (mode, sha256) for path, mode, sha256 in step.files}
    words = [f"{path} changed" for path in new if path in old and old[path] != new[path]]
    words += [f"{path} added" for path in new if path not in old] + [f"{path} removed" for path in old if path not in new]
    return f"code: {_listed(words)}" if words else "code changed"


def _as_in_a_snapshot(entry: TreeEntry) -> tuple[int, str]:
    """Mode and sha256 as `CopyIn.files` has them."""
    if entry.type == "symlink":
        return _LINK_MODE, hashlib.sha256(os.fsencode(entry.link)).hexdigest()
    return entry.mode, entry.sha256


def _listed(words: Sequence[str]) -> str:
    more = len(words) - _MOST_NAMED
    return ", ".join(words[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
