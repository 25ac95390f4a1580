"""Where the Debian archive is: the configuration's mirror, or the host's own apt sources (sources.list(5)). No address is ours.

A host of another Debian release serves as well: an archive holds all suites, so only the address is taken and the suite is
replaced. An entry counts when its suite is one of Debian's, its component `main` is on, and it isn't a third party's that
borrows the suite's name (`stable main` of a browser vendor). Fetching is `archive_client.py`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from runtime.build.debian.index import parse_stanza
from runtime.build.debian.release_signature import archive_keyrings
from runtime.build.sources import DebianSource
from runtime.errors import BuildError
from runtime.http.proxies import redact_url
from runtime.light_dataclasses import dataclass

MIRROR_VARIABLE = "LAUNCH_DEBIAN_MIRROR"

_CODENAMES = ("buster", "bullseye", "bookworm", "trixie", "forky", "duke")
_ALIASES = ("stable", "oldstable", "oldoldstable", "testing")
_ROLLING = ("sid", "unstable")
_SUITE = re.compile(rf"({'|'.join((*_CODENAMES, *_ALIASES, *_ROLLING))})(-updates|-security|/updates|-backports)?")
_ROLES = {None: "main", "-updates": "updates", "-security": "security", "/updates": "security", "-backports": "main"}
_SCHEMES = ("http", "https", "file", "copy")


@dataclass(frozen=True, slots=True)
class AptEntry:
    """One address and suite of the host's apt."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: bool = False
    origin: str = ""
    """The file it stands in."""


def debian_source(
    suite: str, *, mirror: str | None, environ: Mapping[str, str], cache_dir: Path, root: Path = Path("/")
) -> DebianSource:
    """Archives and keys for *suite*: what a base is resolved and built from."""
    archives = find_archives(suite, mirror=mirror, environ=environ, root=root)
    return DebianSource(archives=archives, cache_dir=cache_dir, keyring=archive_keyrings(root))


def find_archives(suite: str, *, mirror: str | None, environ: Mapping[str, str], root: Path = Path("/")) -> dict[str, str]:
    """`main`, `updates` and `security` → base address for *suite*; *mirror*, then LAUNCH_DEBIAN_MIRROR, then apt's.

    A mirror is one address, or two: the archive's and the security archive's (`none` for no security archive).
    """
    chosen = mirror or environ.get(MIRROR_VARIABLE)
    if chosen:
        return _for_suite(suite, _from_mirror(chosen))
    entries = [entry for entry in read_apt_sources(root) if _is_debian(entry)]
    found: dict[str, str] = {}
    for role in ("main", "updates", "security"):
        ranked = sorted(
            (entry for entry in entries if _ROLES[_role_suffix(entry)] == role),
            key=lambda entry: (_distance(entry, suite), entry.origin),
        )
        if ranked:
            found[role] = ranked[0].uri
    found.setdefault("main", found.get("updates", ""))
    if not found["main"]:
        raise BuildError(
            f"no Debian archive is known for `bootstrap:debian/{suite}`: apt on this machine has none",
            hint=f"name one by `image.mirror=ADDRESS` or `{MIRROR_VARIABLE}=ADDRESS`, the directory of `dists/` and `pool/`",
        )
    found.setdefault("updates", found["main"])
    if "security" not in found:
        # Hosts set up by hand often lack it; the sibling of `…/debian` is its place on the archive and on full mirrors.
        sibling = _security_sibling(found["main"])
        if sibling is not None:
            found["security"] = sibling
    return _for_suite(suite, found)


def _from_mirror(text: str) -> dict[str, str]:
    words = text.split()
    if len(words) > 2:
        raise BuildError(f"a Debian mirror is one address or two, not `{text}`")
    for word in words:
        if word != "none" and urlsplit(word).scheme not in _SCHEMES:
            raise BuildError(
                f"Debian mirror `{redact_url(word)}` is no http, https or file address",
                hint="as `http://HOST/debian` or `file:/PATH`",
            )
    main = words[0].rstrip("/")
    found = {"main": main, "updates": main}
    security = words[1].rstrip("/") if len(words) == 2 else _security_sibling(main)
    if security is not None and security != "none":
        found["security"] = security
    return found


def _security_sibling(main: str) -> str | None:
    return f"{main}-security" if main.rstrip("/").endswith("/debian") else None


def _for_suite(suite: str, found: Mapping[str, str]) -> dict[str, str]:
    """Unstable has neither updates nor security."""
    roles = ("main",) if suite in _ROLLING else ("main", "updates", "security")
    return {role: found[role].rstrip("/") for role in roles if role in found}


def _role_suffix(entry: AptEntry) -> str | None:
    matched = _SUITE.fullmatch(entry.suite)
    return matched[2] if matched else None


def _is_debian(entry: AptEntry) -> bool:
    matched = _SUITE.fullmatch(entry.suite)
    if matched is None or "main" not in entry.components or urlsplit(entry.uri).scheme not in _SCHEMES:
        return False
    if "debian-archive" in entry.signed_by or _looks_like_mirror(entry.uri):
        return True
    # `stable main` is what third parties call theirs; a release's codename with `main` and no key of its own is Debian.
    return matched[1] not in _ALIASES and not entry.signed_by and not entry.trusted


def _looks_like_mirror(uri: str) -> bool:
    return urlsplit(uri).path.rstrip("/").endswith(("/debian", "/debian-security"))


def _distance(entry: AptEntry, suite: str) -> tuple[int, int]:
    """Entries of the same suite first, then those with Debian's own keyring."""
    matched = _SUITE.fullmatch(entry.suite)
    same = matched is not None and matched[1] == suite and matched[2] != "-backports"
    return (0 if same else 1, 0 if "debian-archive" in entry.signed_by or _looks_like_mirror(entry.uri) else 1)


def read_apt_sources(root: Path = Path("/")) -> list[AptEntry]:
    """Entries for binary packages from `sources.list`, `sources.list.d/*.list` and `*.sources` below *root*."""
    directory = root / "etc/apt/sources.list.d"
    listed = sorted(directory.glob("*")) if directory.is_dir() else []
    entries: list[AptEntry] = []
    for path in [root / "etc/apt/sources.list", *listed]:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue  # a file that only root may read holds a password; this user's apt does not see it either
        read = _read_deb822 if path.suffix == ".sources" else _read_one_line
        for entry in read(text, str(path)):
            entries.extend(_resolve_mirror_file(entry, root))
    return entries


def names_an_archive(path: str, text: str) -> bool:
    """Whether apt finds an archive of binary packages in the *text* of its source list *path*."""
    read = {".list": _read_one_line, ".sources": _read_deb822}.get(Path(path).suffix)
    return read is not None and any(True for _ in read(text, path))


def _read_deb822(text: str, origin: str) -> Iterator[AptEntry]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {name.lower(): value for name, value in parse_stanza(stanza.strip("\n")).items()}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "off", "0"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield AptEntry(
                    uri,
                    suite,
                    tuple(fields.get("components", "").split()),
                    signed_by=fields.get("signed-by", ""),
                    trusted=fields.get("trusted", "no").lower() in ("yes", "true", "on", "1"),
                    origin=origin,
                )


def _read_one_line(text: str, origin: str) -> Iterator[AptEntry]:
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        matched = re.fullmatch(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<rest>.+)", line)
        if matched is None:
            continue
        try:
            words = shlex.split(matched["rest"])
        except ValueError:
            continue
        if len(words) < 2:
            continue
        options = dict(pair.partition("=")[::2] for pair in (matched["options"] or "").split())
        yield AptEntry(
            words[0],
            words[1],
            tuple(words[2:]),
            signed_by=options.get("signed-by", ""),
            trusted=options.get("trusted", "no") == "yes",
            origin=origin,
        )


def _resolve_mirror_file(entry: AptEntry, root: Path) -> Iterator[AptEntry]:
    """`mirror+file:/etc/apt/mirrors/debian.list` (apt-transport-mirror(1), Debian's cloud images) → the addresses in the file."""
    parts = urlsplit(entry.uri)
    if parts.scheme not in ("mirror+file", "mirror+copy"):
        yield entry
        return
    path = root / parts.path.lstrip("/")
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            yield AptEntry(words[0], entry.suite, entry.components, entry.signed_by, entry.trusted, f"{entry.origin} → {path}")
