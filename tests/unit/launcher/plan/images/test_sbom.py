"""The bill of materials: valid CycloneDX by CycloneDX's own schema, and the same for the same image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from image_maker import image_of
from packageurl import PackageURL

from launcher.plan.images.sbom import sbom_document
from launcher.plan.launch_plan import Lock, LockedWheel
from runtime.build.plan import BuildPlan, DebPackage, ImageConfig, ImportImage, UnpackDebs
from runtime.oci.digest import Digest, canonical_json
from runtime.store.store import Store

SHA = "0123456789abcdef" * 4
SITE = "opt/venv/lib/python3.13/site-packages"
DEBIAN = {
    "etc/os-release": 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
    "var/lib/dpkg/status": "Package: git\nStatus: install ok installed\nArchitecture: amd64\n"
    "Source: git-src\nVersion: 1:2.47~3+deb13u1\n",
}
WHEELS = {
    f"{SITE}/numpy-2.3.dist-info/METADATA": "Name: numpy\nVersion: 2.3\nLicense-Expression: BSD-3-Clause AND MIT\n",
    f"{SITE}/six-1.dist-info/METADATA": "Name: six\nVersion: 1\nClassifier: License :: OSI Approved :: MIT License\n",
    "usr/lib/python3/dist-packages/six-1.dist-info/METADATA": "Name: six\nVersion: 1\n",
}
LOCK = Lock(
    "3.13.5", "x86_64-manylinux_2_41", (LockedWheel("numpy", "2.3", SHA, "numpy.whl"),), Digest(f"sha256:{SHA}"), "resolved"
)
BUILD = BuildPlan(
    (UnpackDebs("trixie", (DebPackage("git", "1:2.47~3+deb13u1", "amd64", "main", "pool/git.deb", 5, SHA),)),), ImageConfig()
)


def test_each_package_by_its_address_with_licence_and_the_digest_of_its_file(store: Store) -> None:
    document = sbom_document(image_of(store, DEBIAN, WHEELS), store, LOCK, name="digits", build=BUILD)
    system, git, numpy, six = document["components"]
    assert ("operating-system", "debian", "13") == (system["type"], system["name"], system["version"])
    assert "pkg:deb/debian/git@1:2.47~3%2Bdeb13u1?arch=amd64&distro=debian-13" == git["purl"]
    assert [{"name": "launch:source-package", "value": "git-src"}] == git["properties"]
    assert [[{"alg": "SHA-256", "content": SHA}]] * 2 == [git["hashes"], numpy["hashes"]]
    assert ("pkg:pypi/numpy@2.3", "BSD-3-Clause AND MIT") == (numpy["purl"], numpy["licenses"][0]["expression"])
    assert "MIT License" == six["licenses"][0]["license"]["name"]
    assert [f"/{SITE}/six-1.dist-info", "/usr/lib/python3/dist-packages/six-1.dist-info"] == [
        each["location"] for each in six["evidence"]["occurrences"]
    ]


def test_the_image_itself_its_base_and_who_says_so(store: Store) -> None:
    image = image_of(store, DEBIAN)
    build = BuildPlan((ImportImage("docker.io/library/python:3.13", Digest(f"sha256:{SHA}")),), ImageConfig())
    metadata = sbom_document(image, store, None, name="digits", build=build)["metadata"]
    assert ("container", "digits", image.digest) == tuple(metadata["component"][key] for key in ("type", "name", "version"))
    (base,) = metadata["component"]["pedigree"]["ancestors"]
    assert ("docker.io/library/python:3.13", f"sha256:{SHA}") == (base["name"], base["version"])
    assert ["launch"] == [tool["name"] for tool in metadata["tools"]["components"]]


def test_the_same_image_gives_the_same_bytes_and_no_time(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other").ensure()
    documents = [sbom_document(image_of(each, DEBIAN, WHEELS), each, LOCK, name="x", build=BUILD) for each in (store, other)]
    assert canonical_json(documents[0]) == canonical_json(documents[1])
    assert "timestamp" not in json.dumps(documents[0])
    assert documents[0]["serialNumber"] != sbom_document(image_of(store, DEBIAN), store, None, name="x")["serialNumber"]


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param((DEBIAN, WHEELS), id="Debian with wheels"),
        pytest.param(({"lib/apk/db/installed": "P:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n"},), id="Alpine without os-release"),
        pytest.param(({"bin/tool": "x"},), id="nothing known"),
    ],
)
def test_it_is_valid_by_the_schema_of_cyclonedx_and_its_addresses_by_purl(
    store: Store, layers: tuple[dict[str, str], ...]
) -> None:
    document = sbom_document(image_of(store, *layers), store, LOCK, name="digits", build=BUILD)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    addresses = [component["purl"] for component in document["components"] if "purl" in component]
    assert addresses == [PackageURL.from_string(address).to_string() for address in addresses]


def test_a_package_that_a_later_layer_removed_is_not_in_it(store: Store) -> None:
    emptied = {"var/lib/dpkg/status": ""}
    document = sbom_document(image_of(store, DEBIAN, emptied), store, None, name="x")
    assert ["debian"] == [component["name"] for component in document["components"]]


def test_a_path_that_is_no_text_is_written_as_what_it_is(store: Store) -> None:
    files = {f"{SITE}/odd\udcff\x1b-1.dist-info/METADATA": "Name: odd\nVersion: 1\n"}
    document = sbom_document(image_of(store, files), store, None, name="x")
    assert f"/{SITE}/odd\\\\xff\\x1b-1.dist-info" == document["components"][0]["evidence"]["occurrences"][0]["location"]
    canonical_json(document)
