"""Where an image is fetched from: containers-registries.conf(5), with mirrors, insecure and blocked registries.

Files, the most important first; what the first one says of a prefix holds:

    $XDG_CONFIG_HOME/launch/registries.conf
    $XDG_CONFIG_HOME/containers/registries.conf.d/*.conf, registries.conf
    /etc/containers/registries.conf.d/*.conf, registries.conf

Short names keep Docker's meaning: `unqualified-search-registries` and `[aliases]` are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from runtime.errors import BadContent, Unsupported
from runtime.light_dataclasses import dataclass
from runtime.oci.reference import Remote

PullFrom = Literal["all", "digest-only", "tag-only"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A repository to ask."""

    host: str
    """`HOST[:PORT]`"""
    repository: str
    insecure: bool = False
    """Plain HTTP and unknown certificates are taken."""
    is_mirror: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    location: str
    insecure: bool
    pull_from: PullFrom = "all"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A `[[registry]]`."""

    prefix: str
    place: _Place
    mirrors: tuple[_Place, ...]
    blocked: bool
    file: Path

    def fits(self, name: str) -> bool:
        """Whether *name* (`host/path`) or a part of it at a boundary is the prefix; `*.domain` means hosts below it."""
        if self.prefix.startswith("*."):
            return name.partition("/")[0].partition(":")[0].endswith(self.prefix[1:])
        return name == self.prefix or (name.startswith(self.prefix) and name[len(self.prefix)] in "/:@")


@dataclass(frozen=True, slots=True)
class RegistriesConfiguration:
    """What the files say."""

    entries: tuple[_Entry, ...] = ()

    def endpoints(self, reference: Remote) -> tuple[Endpoint, ...]:
        """Where *reference* may be had: mirrors in their order, then the origin. Raises Unsupported for a blocked registry."""
        name = f"{reference.registry}/{reference.repository}"
        entry = self._entry(name)
        if entry is None:
            return (Endpoint(reference.registry, reference.repository),)
        if entry.blocked:
            raise Unsupported(f"`{name}` is blocked by `{entry.file}`", hint="`blocked = true` stands there")
        wanted = "digest-only" if reference.digest is not None else "tag-only"
        mirrors = [mirror for mirror in entry.mirrors if mirror.pull_from in ("all", wanted)]
        found = [_endpoint(name, entry.prefix, mirror, is_mirror=True) for mirror in mirrors]
        return (*found, _endpoint(name, entry.prefix, entry.place, is_mirror=False))

    def endpoint(self, host: str, repository: str) -> Endpoint:
        """The origin of a repository: where it is pushed to."""
        return self.endpoints(Remote(host, repository, None, None))[-1]

    def is_insecure(self, host: str) -> bool:
        """Whether *host* as a whole is marked as insecure: as a prefix, or as a location or mirror of another."""
        places = [place for entry in self.entries for place in (entry.place, *entry.mirrors)]
        return any(place.insecure and place.location.partition("/")[0] == host for place in places)

    def _entry(self, name: str) -> _Entry | None:
        return max((entry for entry in self.entries if entry.fits(name)), key=lambda entry: len(entry.prefix), default=None)


def registries_configuration(environ: Mapping[str, str], *, root: Path = Path("/")) -> RegistriesConfiguration:
    """The configuration of this user and machine. Raises BadContent for a file that is damaged."""
    known: dict[str, _Entry] = {}
    for file in _files(environ, root):
        for entry in _read(file):
            known.setdefault(entry.prefix, entry)
    return RegistriesConfiguration(tuple(known.values()))


def _files(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    home = environ.get("HOME")
    if config := environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config"):
        yield Path(config) / "launch/registries.conf"
        yield from _with_parts(Path(config) / "containers")
    yield from _with_parts(root / "etc/containers")


def _with_parts(directory: Path) -> Iterator[Path]:
    # Later parts override earlier ones, and all of them the file itself.
    yield from sorted(directory.glob("registries.conf.d/*.conf"), reverse=True)
    yield directory / "registries.conf"


def _read(file: Path) -> Iterable[_Entry]:
    try:
        content = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise BadContent(f"cannot read `{file}`: {error}") from error
    if "registry" not in content:
        return ()
    import tomllib

    try:
        tables = tomllib.loads(content).get("registry", [])
    except tomllib.TOMLDecodeError as error:
        raise BadContent(f"`{file}` is not valid TOML: {error}") from error
    if not isinstance(tables, list):
        raise BadContent(f"`{file}`: `registry` is not a list", hint="it is written `[[registry]]`")
    return [_entry(table, file) for table in tables]


def _entry(table: Any, file: Path) -> _Entry:
    if not isinstance(table, dict):
        raise BadContent(f"`{file}`: `[[registry]]` holds something that is no table")
    location = _text(table, "location", file)
    prefix = _text(table, "prefix", file) or location
    if not prefix or (not location and not prefix.startswith("*.")):
        raise BadContent(f"`{file}`: a `[[registry]]` has no `location`")
    digests_only = _truth(table, "mirror-by-digest-only", file)
    mirrors = table.get("mirror", [])
    if not isinstance(mirrors, list) or not all(isinstance(mirror, dict) for mirror in mirrors):
        raise BadContent(f"`{file}`: `mirror` of `{prefix}` is not a list", hint="it is written `[[registry.mirror]]`")
    return _Entry(
        prefix=prefix,
        place=_Place(location, _truth(table, "insecure", file)),
        mirrors=tuple(_mirror(mirror, digests_only, file) for mirror in mirrors),
        blocked=_truth(table, "blocked", file),
        file=file,
    )


def _mirror(table: dict[str, Any], digests_only: bool, file: Path) -> _Place:
    location = _text(table, "location", file)
    if not location:
        raise BadContent(f"`{file}`: a `[[registry.mirror]]` has no `location`")
    pull_from = table.get("pull-from-mirror", "digest-only" if digests_only else "all")
    if pull_from not in ("all", "digest-only", "tag-only"):
        raise BadContent(f"`{file}`: `pull-from-mirror` is `{pull_from}`, not `all`, `digest-only` or `tag-only`")
    return _Place(location, _truth(table, "insecure", file), pull_from)


def _text(table: dict[str, Any], key: str, file: Path) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or "://" in value:
        raise BadContent(f"`{file}`: `{key}` is `{value}`, not `HOST[:PORT][/PATH]`")
    return value.rstrip("/")


def _truth(table: dict[str, Any], key: str, file: Path) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise BadContent(f"`{file}`: `{key}` is `{value}`, not true or false")
    return value


def _endpoint(name: str, prefix: str, place: _Place, *, is_mirror: bool) -> Endpoint:
    # `*.domain` has no location: hosts keep their names.
    whole = place.location + name[len(prefix) :] if place.location and not prefix.startswith("*.") else name
    host, _, repository = whole.partition("/")
    return Endpoint(host, repository, place.insecure, is_mirror)
