"""Apply a MakeVenv step: what `venv.py` writes becomes a layer."""

from __future__ import annotations

from dataclasses import replace

from runtime.build.cache_key import key_fields, step_key
from runtime.build.plan import MakeVenv
from runtime.build.step_label import step_label
from runtime.build.venv import make_venv_tree
from runtime.layer.tree import Tree, scan
from runtime.store.records import Layer
from runtime.store.store import Store


def apply_make_venv(step: MakeVenv, *, store: Store) -> Layer:
    """The layer of *step*."""
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir()
        make_venv_tree(step, root)
        # The umask of whoever builds must not show.
        modes = {"dir": 0o755, "file": 0o644}
        tree = Tree.of(replace(entry, mode=modes.get(entry.type, entry.mode)) for entry in scan(root))
        return store.publish(step_key(step, None), root, tree, label=step_label(step), fields=key_fields(step, None))
