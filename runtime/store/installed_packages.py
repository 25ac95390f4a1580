"""The packages in an image, read from the records that package managers keep in it; nothing of the image is run.

    dpkg      /var/lib/dpkg/status (deb822(5)), and status.d of images that were made without dpkg (distroless)
    apk       /lib/apk/db/installed (Alpine, "Apk spec")
    Python    *.dist-info/METADATA wherever it lies (packaging.python.org, "Core metadata specifications")

What an image says of itself is its author's word: names and versions are taken as they stand and never obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from runtime.light_dataclasses import dataclass
from runtime.store.merged_tree import MergedTree

_DPKG_STATUS = "var/lib/dpkg/status"
_DPKG_STATUS_D = "var/lib/dpkg/status.d/"
_APK_INSTALLED = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_METADATA = re.compile(r"(?:^|/)[^/]+\.dist-info/METADATA$")
_METADATA_LIMIT = 1 << 20
_LONGEST_LICENCE = 200

Kind = Literal["deb", "apk", "python"]


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """One package as its manager has recorded it."""

    kind: Kind
    name: str
    """Of Python in its normal form (`scikit-learn`)."""
    version: str
    architecture: str = ""
    """dpkg and apk only; Python's is not recorded."""
    source: str = ""
    """dpkg and apk: the package that it was built from, where that has another name."""
    licences: tuple[str, ...] = ()
    is_expression: bool = False
    """Whether `licences` is one SPDX expression."""
    location: str = ""
    """Path of the record; of Python packages the dist-info directory."""


def installed_packages(tree: MergedTree) -> list[InstalledPackage]:
    """All packages of *tree*, by kind and name. A package that dpkg has only the configuration of is not installed."""
    found = [*_debs(tree), *_apks(tree), *_python(tree)]
    return sorted(set(found), key=lambda each: (each.kind, each.name, each.version, each.architecture, each.location))


def os_release(tree: MergedTree) -> dict[str, str]:
    """The variables of os-release(5); empty when there is none."""
    content = tree.read("etc/os-release", limit=64 << 10) or tree.read("usr/lib/os-release", limit=64 << 10) or b""
    pairs = re.findall(r"^([A-Z0-9_]+)=(.*)$", content.decode("utf-8", "replace"), re.MULTILINE)
    return {name: _unquote(value.strip()) for name, value in pairs}


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def paragraphs(text: str) -> Iterator[dict[str, list[str]]]:
    """Paragraphs of `Name: value` lines, names in lower case; a line that begins with a blank goes on with the one before."""
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        fields: dict[str, list[str]] = {}
        current: list[str] | None = None
        for line in block.split("\n"):
            if line[:1] in (" ", "\t"):
                if current is not None:
                    current[-1] += "\n" + line.strip()
                continue
            name, colon, value = line.partition(":")
            if colon:
                current = fields.setdefault(name.strip().lower(), [])
                current.append(value.strip())
        if fields:
            yield fields


def _debs(tree: MergedTree) -> Iterator[InstalledPackage]:
    records = [_DPKG_STATUS]
    records += [entry.path for entry in tree if entry.path.startswith(_DPKG_STATUS_D) and not entry.path.endswith(".md5sums")]
    for record in records:
        content = tree.read(record)
        for fields in () if content is None else paragraphs(content.decode("utf-8", "replace")):
            name, version = _first(fields, "package"), _first(fields, "version")
            state = _first(fields, "status").rpartition(" ")[2]
            if name and version and state not in ("not-installed", "config-files"):
                source = _first(fields, "source").partition(" ")[0]
                yield InstalledPackage("deb", name, version, _first(fields, "architecture"), source, location=record)


def _apks(tree: MergedTree) -> Iterator[InstalledPackage]:
    record = next((path for path in _APK_INSTALLED if tree.resolve(path) is not None), None)
    content = None if record is None else tree.read(record)
    # One letter a field, `F:` and what follows it are the files of the package.
    for block in () if content is None else content.decode("utf-8", "replace").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z]):(.*)$", block.partition("\nF:")[0], re.MULTILINE))
        if fields.get("P") and fields.get("V"):
            licence = (fields["L"],) if fields.get("L") else ()
            origin = fields.get("o", "")
            yield InstalledPackage(
                "apk",
                fields["P"],
                fields["V"],
                fields.get("A", ""),
                origin if origin != fields["P"] else "",
                licence,
                location=record or "",
            )


def _python(tree: MergedTree) -> Iterator[InstalledPackage]:
    for entry in tree:
        if entry.type not in ("file", "hardlink") or not entry.path.endswith("/METADATA") or not _METADATA.search(entry.path):
            continue
        content = tree.read(entry.path, limit=_METADATA_LIMIT) or b""
        fields = next(paragraphs(content.decode("utf-8", "replace")), {})
        name, version = _first(fields, "name"), _first(fields, "version")
        if name and version:
            licences, is_expression = _licences(fields)
            yield InstalledPackage(
                "python",
                re.sub(r"[-_.]+", "-", name).lower(),
                version,
                licences=licences,
                is_expression=is_expression,
                location=entry.path.rpartition("/")[0],
            )


def _licences(fields: dict[str, list[str]]) -> tuple[tuple[str, ...], bool]:
    """(names, whether they are one SPDX expression): what PEP 639 has, else what was written before it."""
    expression = _first(fields, "license-expression")
    if expression:
        return (expression,), True
    text = _first(fields, "license")
    if text and "\n" not in text and len(text) <= _LONGEST_LICENCE and text.upper() != "UNKNOWN":
        return (text,), False
    classifiers = (each.split(" :: ") for each in fields.get("classifier", ()))
    return tuple(dict.fromkeys(parts[-1] for parts in classifiers if parts[0] == "License" and len(parts) > 1)), False


def _first(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]
