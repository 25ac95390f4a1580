"""Names of images mean what they mean elsewhere."""

from __future__ import annotations

import pytest

from runtime.errors import BadContent
from runtime.oci.digest import Digest
from runtime.oci.reference import Archive, Bootstrap, Reference, Remote, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("bootstrap:debian/trixie", Bootstrap("debian", "trixie")),
        ("oci:/images/base", Archive("oci", "/images/base", None)),
        ("oci:base:v1.2", Archive("oci", "base", "v1.2")),
        ("docker-archive:saved.tar:lab/x:1", Archive("docker-archive", "saved.tar", "lab/x:1")),
        ("debian:trixie", Remote("docker.io", "library/debian", "trixie", None)),
        ("debian", Remote("docker.io", "library/debian", "latest", None)),
        ("nvidia/cuda:12.8", Remote("docker.io", "nvidia/cuda", "12.8", None)),
        ("docker.io/debian", Remote("docker.io", "library/debian", "latest", None)),
        ("localhost:5000/a", Remote("localhost:5000", "a", "latest", None)),
        ("ghcr.io/a/b@" + DIGEST, Remote("ghcr.io", "a/b", None, Digest(DIGEST))),
        ("ghcr.io/a/b:t@" + DIGEST, Remote("ghcr.io", "a/b", "t", Digest(DIGEST))),
    ],
)
def test_a_reference_is_understood(text: str, meaning: Reference) -> None:
    assert meaning == parse_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Debian",
        "a b",
        "debian:",
        "x@sha256:12",
        "bootstrap:arch/rolling",
        "bootstrap:debian",
        "oci:",
        "docker://debian",
        "../x",
        "a//b",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(BadContent):
        parse_reference(text)
