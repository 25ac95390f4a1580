"""Names of images, as people write them; no I/O.

bootstrap:debian/trixie          our own Debian base, made from the archive
oci:DIR[:TAG]                    OCI image layout   (containers-transports(5), "oci:")
oci-archive:FILE[:TAG]           the same in a tar archive
docker-archive:FILE[:TAG]        what `docker save` writes
ubuntu:24.04, ghcr.io/a/b@sha256:…   a registry, with Docker's meaning (distribution/reference, "Grammar")
"""

from __future__ import annotations

import re
from typing import Literal, cast

from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d+)?"
)
_SUITE = re.compile(r"[a-z][a-z0-9.-]*")

DOCKER_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A base that is made, not fetched."""

    distribution: Literal["debian"]
    suite: str


Transport = Literal["oci", "oci-archive", "docker-archive"]


@dataclass(frozen=True, slots=True)
class Archive:
    """An image in files on this machine."""

    transport: Transport
    path: str
    tag: str | None
    """For `oci` and `oci-archive` the value of `org.opencontainers.image.ref.name`; for `docker-archive` `name:tag`."""


@dataclass(frozen=True, slots=True)
class Remote:
    """An image in a registry. At least one of *tag* and *digest* is set."""

    registry: str
    repository: str
    tag: str | None
    digest: Digest | None


Reference = Bootstrap | Archive | Remote


def parse_reference(text: str) -> Reference:
    """What *text* names. Raises BadContent when it is no reference."""
    transport, colon, rest = text.partition(":")
    if colon and transport == "bootstrap":
        return _bootstrap(text, rest)
    if colon and transport in ("oci", "oci-archive", "docker-archive"):
        return _archive(text, transport, rest)
    if colon and transport in ("docker", "dir", "docker-daemon", "containers-storage"):
        raise BadContent(
            f"image reference `{text}` has a transport that is not known here",
            hint="`oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME:TAG]`, or a bare name for a registry",
        )
    return _remote(text)


def _bootstrap(text: str, rest: str) -> Bootstrap:
    distribution, slash, suite = rest.partition("/")
    if distribution != "debian" or not slash or _SUITE.fullmatch(suite) is None:
        raise BadContent(
            f"cannot make base `{text}`", hint="the form is `bootstrap:debian/SUITE`, as in `bootstrap:debian/trixie`"
        )
    return Bootstrap("debian", suite)


def _archive(text: str, transport: str, rest: str) -> Archive:
    # The first colon ends the path, so a path cannot hold one (containers-transports(5) says the same).
    path, _, tag = rest.partition(":")
    if not path:
        raise BadContent(f"image reference `{text}` names no file", hint=f"the form is `{transport}:PATH[:TAG]`")
    return Archive(cast(Transport, transport), path, tag or None)


def _remote(text: str) -> Remote:
    name, at, digest_text = text.partition("@")
    digest = Digest(digest_text) if at else None
    head, slash, tail = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        registry, path = head, tail
    else:
        registry, path = DOCKER_HUB, name
    path, colon, tag = path.partition(":")
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if _HOST.fullmatch(registry) is None or _PATH.fullmatch(path) is None or (colon and _TAG.fullmatch(tag) is None):
        raise BadContent(f"`{text}` is no image reference", hint="the form is `[HOST/]NAME[:TAG][@sha256:…]`, in lower case")
    return Remote(registry, path, tag if colon else None if digest else "latest", digest)


def same_image(one: str, other: str) -> bool:
    """Whether two names mean one image: `x`, `x:latest` and `docker.io/library/x:latest` do (tools write any of them)."""
    try:
        return parse_reference(one) == parse_reference(other)
    except BadContent:
        return False


def familiar_name(text: str) -> str | None:
    """The name *text* with a tag and without what Docker leaves out: `x:latest`. None when an image can't be called so."""
    try:
        reference = parse_reference(text)
    except BadContent:
        return None
    if not isinstance(reference, Remote) or reference.tag is None:
        return None
    if reference.registry == DOCKER_HUB:
        return f"{reference.repository.removeprefix('library/')}:{reference.tag}"
    return f"{reference.registry}/{reference.repository}:{reference.tag}"


def whole_name(text: str) -> str | None:
    """The same with all of it: `docker.io/library/x:latest`."""
    reference = parse_reference(text) if familiar_name(text) is not None else None
    return f"{reference.registry}/{reference.repository}:{reference.tag}" if isinstance(reference, Remote) else None


def shown_reference(reference: Remote) -> str:
    """*reference* in full, with tag and digest as far as it has them."""
    tag = f":{reference.tag}" if reference.tag is not None else ""
    digest = f"@{reference.digest}" if reference.digest is not None else ""
    return f"{reference.registry}/{reference.repository}{tag}{digest}"
