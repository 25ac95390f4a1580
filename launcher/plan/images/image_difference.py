"""What differs between two images: packages, configuration, files. Pure data; `launch diff` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runtime.layer.tree import parents_of, printable
from runtime.light_dataclasses import dataclass
from runtime.store.installed_packages import InstalledPackage, installed_packages
from runtime.store.merged_tree import merged_tree
from runtime.store.records import Image
from runtime.store.store import Store
from runtime.store.tree_difference import PathDifference, tree_difference


@dataclass(frozen=True, slots=True)
class PackageDifference:
    """A package of which one image has other versions than the other."""

    kind: str
    name: str
    before: tuple[str, ...]
    """Its versions; more than one where it is installed in several places or for several architectures."""
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConfigDifference:
    """One setting of the image's configuration."""

    name: str
    """`Env PATH`, `Entrypoint`, `architecture`."""
    before: Any
    """None: it is not set."""
    after: Any


@dataclass(frozen=True, slots=True)
class ImageDifference:
    before: Image
    after: Image
    packages: tuple[PackageDifference, ...]
    config: tuple[ConfigDifference, ...]
    files: tuple[PathDifference, ...]
    shared_layers: int
    """How many layers of *after* the other has as well."""

    @property
    def is_empty(self) -> bool:
        return not (self.packages or self.config or self.files)

    def counts(self) -> dict[str, int]:
        """added, removed, changed → number of paths."""
        return {kind: sum(each.kind == kind for each in self.files) for kind in ("added", "removed", "changed")}

    def to_json(self) -> dict[str, Any]:
        return {
            "before": str(self.before.digest),
            "after": str(self.after.digest),
            "summary": {
                "packages": len(self.packages),
                "config": len(self.config),
                "files": self.counts(),
                "size_bytes": [self.before.size_bytes, self.after.size_bytes],
                "layers": [len(self.before.layers), len(self.after.layers)],
                "shared_layers": self.shared_layers,
            },
            "packages": [
                {"kind": each.kind, "name": each.name, "before": list(each.before), "after": list(each.after)}
                for each in self.packages
            ],
            "config": [{"name": each.name, "before": each.before, "after": each.after} for each in self.config],
            "files": [
                {
                    "path": printable(each.path),
                    "difference": each.kind,
                    "type": _type(each),
                    "changes": {what: [before, after] for what, before, after in each.aspects},
                }
                for each in self.files
            ],
        }


def _type(difference: PathDifference) -> str:
    """What the path is now, or was where it is gone."""
    entry = difference.after or difference.before
    return "" if entry is None else "file" if entry.type == "hardlink" else entry.type


def image_difference(before: Image, after: Image, store: Store) -> ImageDifference:
    """What *after* has that *before* has not, has not, or has in another way."""
    old, new = (merged_tree(store, image.layers) for image in (before, after))
    known = {layer.diff_id for layer in before.layers}
    return ImageDifference(
        before,
        after,
        package_differences(installed_packages(old), installed_packages(new)),
        config_differences(before.config, after.config),
        tuple(tree_difference(old, new)),
        sum(layer.diff_id in known for layer in after.layers),
    )


def package_differences(before: Iterable[InstalledPackage], after: Iterable[InstalledPackage]) -> tuple[PackageDifference, ...]:
    old, new = _versions(before), _versions(after)
    return tuple(
        PackageDifference(kind, name, old.get((kind, name), ()), new.get((kind, name), ()))
        for kind, name in sorted(old | new)
        if old.get((kind, name)) != new.get((kind, name))
    )


def _versions(packages: Iterable[InstalledPackage]) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], set[str]] = {}
    for package in packages:
        found.setdefault((package.kind, package.name), set()).add(package.version)
    return {key: tuple(sorted(versions)) for key, versions in found.items()}


def config_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[ConfigDifference, ...]:
    """Differences of two image configurations, without history and times; variables and labels one by one."""
    old, new = dict(_settings(before)), dict(_settings(after))
    return tuple(
        ConfigDifference(name, old.get(name), new.get(name)) for name in sorted(old | new) if old.get(name) != new.get(name)
    )


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("os", "architecture", "variant", "author"):
        if config.get(name):
            yield name, config[name]
    for name, value in (config.get("config") or {}).items():
        if name == "Env":
            for pair in value or ():
                variable, _, text = str(pair).partition("=")
                yield f"Env {variable}", text
        elif name in ("Labels", "ExposedPorts", "Volumes"):
            for key, content in (value or {}).items():
                yield f"{name} {key}", content if name == "Labels" else True
        elif value not in (None, "", [], {}, False):
            yield name, value


@dataclass(frozen=True, slots=True)
class Collapsed:
    """A difference, and how much lies below it where a directory came or went with all that is in it."""

    difference: PathDifference
    files_below: int = 0
    bytes_below: int = 0


def collapse(files: Iterable[PathDifference]) -> list[Collapsed]:
    """*files* without what lies below a directory that was added or removed whole."""
    found: dict[str, Collapsed] = {}
    for each in files:
        top = next((path for path in parents_of(each.path) if path in found and found[path].difference.kind == each.kind), None)
        if top is None or each.kind == "changed":
            found[each.path] = Collapsed(each)
            continue
        entry = each.after or each.before
        is_file = entry is not None and entry.type != "dir"
        size = entry.size if entry is not None else 0
        known = found[top]
        found[top] = Collapsed(known.difference, known.files_below + is_file, known.bytes_below + size)
    return list(found.values())
