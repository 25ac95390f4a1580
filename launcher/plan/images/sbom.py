"""The software bill of materials of an image: CycloneDX 1.6, JSON (ECMA-424).

It is read from the image itself, so that packages of an imported base and what a command installed are in it as well; the plan
adds the digests of the files that packages came in. The same image gives the same document: it has no time, and its serial
number is made from the image's digest.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from launcher.plan.launch_plan import Lock
from launcher.version import VERSION
from runtime.build.plan import BuildPlan, ImportImage, UnpackDebs
from runtime.layer.tree import printable
from runtime.store.installed_packages import InstalledPackage, installed_packages, os_release
from runtime.store.merged_tree import merged_tree
from runtime.store.records import Image
from runtime.store.store import Store

SPEC_VERSION = "1.6"

_PURL_TYPES = {"deb": "deb", "apk": "apk", "python": "pypi"}
_DISTRIBUTIONS = {"deb": "debian", "apk": "alpine"}
"""Where an image has no os-release."""


def sbom_document(image: Image, store: Store, lock: Lock | None, *, name: str, build: BuildPlan | None = None) -> dict[str, Any]:
    """The bill of *image*, which it calls *name*. *lock* and *build* are what it was made from, where that is known."""
    tree = merged_tree(store, image.layers)
    release = os_release(tree)
    hashes = _file_hashes(lock, build)
    components: dict[str, dict[str, Any]] = {}
    for package in installed_packages(tree):
        purl = package_url(package, release)
        if purl in components:
            components[purl]["evidence"]["occurrences"].append(_occurrence(package))
        else:
            components[purl] = _component(package, purl, hashes)
    listed = [*_operating_system(release), *(components[purl] for purl in sorted(components))]
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, image.digest)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "launch", "version": VERSION}]},
            "component": _image_component(image, name, build),
        },
        "components": listed,
        "dependencies": [{"ref": image.digest, "dependsOn": sorted(each["bom-ref"] for each in listed)}],
    }


def package_url(package: InstalledPackage, release: Mapping[str, str]) -> str:
    """The package's address in the form of the purl specification (ECMA-427)."""
    version = quote(package.version, safe=":")
    if package.kind == "python":
        return f"pkg:pypi/{quote(package.name)}@{version}"
    distribution = release.get("ID") or _DISTRIBUTIONS[package.kind]
    qualifiers = {"arch": package.architecture}
    if release.get("VERSION_ID"):
        qualifiers["distro"] = f"{distribution}-{release['VERSION_ID']}"
    said = "&".join(f"{key}={quote(value, safe=':')}" for key, value in sorted(qualifiers.items()) if value)
    address = f"pkg:{_PURL_TYPES[package.kind]}/{quote(distribution)}/{quote(package.name)}@{version}"
    return f"{address}?{said}" if said else address


def _component(package: InstalledPackage, purl: str, hashes: Mapping[tuple[str, str, str, str], str]) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
        "evidence": {"occurrences": [_occurrence(package)]},
    }
    sha256 = hashes.get((package.kind, package.name, package.version, package.architecture))
    if sha256 is not None:
        component["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    if package.is_expression:
        component["licenses"] = [{"expression": package.licences[0], "acknowledgement": "declared"}]
    elif package.licences:
        component["licenses"] = [{"license": {"name": name, "acknowledgement": "declared"}} for name in package.licences]
    if package.source:
        component["properties"] = [{"name": "launch:source-package", "value": package.source}]
    return component


def _occurrence(package: InstalledPackage) -> dict[str, str]:
    # A path may be any bytes, a document is UTF-8.
    return {"location": f"/{printable(package.location)}"}


def _operating_system(release: Mapping[str, str]) -> list[dict[str, Any]]:
    if not release.get("ID"):
        return []
    component = {"type": "operating-system", "bom-ref": f"os:{release['ID']}", "name": release["ID"]}
    if release.get("VERSION_ID"):
        component["version"] = release["VERSION_ID"]
    if release.get("PRETTY_NAME"):
        component["description"] = release["PRETTY_NAME"]
    return [component]


def _image_component(image: Image, name: str, build: BuildPlan | None) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "container",
        "bom-ref": image.digest,
        "name": name,
        "version": image.digest,
        "hashes": [{"alg": "SHA-256", "content": image.digest.hex}],
    }
    ancestors = [] if build is None else _ancestors(build)
    return component | ({"pedigree": {"ancestors": ancestors}} if ancestors else {})


def _ancestors(build: BuildPlan) -> list[dict[str, Any]]:
    """The image or the archive that *build* starts from."""
    for step in build.steps:
        if isinstance(step, ImportImage):
            sha256 = {"alg": "SHA-256", "content": step.manifest_digest.hex}
            return [{"type": "container", "name": step.reference, "version": step.manifest_digest, "hashes": [sha256]}]
        if isinstance(step, UnpackDebs):
            return [{"type": "operating-system", "name": "debian", "version": step.suite}]
    return []


def _file_hashes(lock: Lock | None, build: BuildPlan | None) -> dict[tuple[str, str, str, str], str]:
    """(kind, name, version, architecture) → sha256 of the wheel, sdist or .deb."""
    wheels = () if lock is None else lock.wheels
    found = {("python", re.sub(r"[-_.]+", "-", wheel.name).lower(), wheel.version, ""): wheel.sha256 for wheel in wheels}
    for step in () if build is None else build.steps:
        for deb in step.packages if isinstance(step, UnpackDebs) else ():
            found["deb", deb.name, deb.version, deb.architecture] = deb.sha256
    return found
