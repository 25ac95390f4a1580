"""What an archive offers: its `Packages` files, merged over main, updates and security.

A Packages file of trixie is 57 MB with 69 000 stanzas, of which a base needs a hundred: only names are read up front
(0.1 s), a stanza is cut out and parsed when somebody asks for it. Fetching and checking is `release.py`; choosing is
`resolver.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from runtime.build.debian.relations import Group, parse_relations, version_key
from runtime.build.plan import DebPackage
from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass

_FIELD = re.compile(r"^([A-Za-z0-9-]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_POOL_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.~_/%:=-]*\.deb")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PRIORITIES = {"required": 0, "important": 1, "standard": 2, "optional": 3, "extra": 4}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One version of a package, as an archive offers it."""

    package: DebPackage
    depends: tuple[Group, ...]
    """Pre-Depends, then Depends."""
    excludes: tuple[Group, ...]
    """Conflicts and Breaks."""
    provides: tuple[Group, ...]
    priority: str = "optional"
    essential: bool = False

    @property
    def name(self) -> str:
        return self.package.name

    @property
    def version(self) -> str:
        return self.package.version

    @property
    def rank(self) -> tuple[int, str]:
        """Order among packages that provide the same thing: by priority, then by name."""
        return (_PRIORITIES.get(self.priority, 5), self.name)


def parse_stanza(text: str) -> dict[str, str]:
    """Fields of one deb822 stanza; the first of two equal names counts."""
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(text):
        fields.setdefault(name, value)
    return fields


def _candidate(stanza: bytes, archive: str) -> Candidate:
    fields = parse_stanza(stanza.decode("utf-8", "replace"))
    try:
        package = DebPackage(
            name=fields["Package"],
            version=fields["Version"],
            architecture=fields["Architecture"],
            archive=archive,
            pool_path=fields["Filename"],
            size=int(fields["Size"]),
            sha256=fields["SHA256"],
        )
    except (KeyError, ValueError) as error:
        raise BadContent(f"a stanza of archive `{archive}` lacks a good `{error}`: `{stanza[:60]!r}`") from error
    if _POOL_PATH.fullmatch(package.pool_path) is None or ".." in package.pool_path or _SHA256.fullmatch(package.sha256) is None:
        raise BadContent(f"archive `{archive}` has a strange file name or hash for package `{package.name}`")
    return Candidate(
        package,
        depends=parse_relations(fields.get("Pre-Depends", "")) + parse_relations(fields.get("Depends", "")),
        excludes=parse_relations(fields.get("Conflicts", "")) + parse_relations(fields.get("Breaks", "")),
        provides=parse_relations(fields.get("Provides", "")),
        priority=fields.get("Priority", "optional"),
        essential=fields.get("Essential") == "yes",
    )


class PackageIndex:
    """Names → candidates over several archives."""

    def __init__(self, archives: Sequence[tuple[str, bytes]], *, architecture: str) -> None:
        """*archives*: (name, text of its Packages file)."""
        self.architecture = architecture
        self._archives = archives
        self._stanzas: dict[str, list[tuple[int, int, int]]] = {}
        """Name → (number of the archive, begin and end in its text) of each stanza."""
        self._parsed: dict[str, tuple[Candidate, ...]] = {}
        self._providers: dict[str, list[str]] | None = None
        for number in range(len(archives)):
            self._read_names(number)

    def _read_names(self, number: int) -> None:
        archive, text = self._archives[number]
        end = 0
        while end < len(text):
            begin = end
            while text.startswith(b"\n", begin):
                begin += 1
            end = text.find(b"\n\n", begin)
            end = len(text) if end < 0 else end
            if begin == end:
                continue
            if not text.startswith(b"Package: ", begin):
                raise BadContent(
                    f"a stanza of archive `{archive}` does not begin with `Package:`: `{text[begin : begin + 60]!r}`"
                )
            line_end = text.find(b"\n", begin, end)
            name = text[begin + 9 : end if line_end < 0 else line_end].decode(errors="replace")
            self._stanzas.setdefault(name, []).append((number, begin, end))

    def _offers(self, name: str) -> Iterator[tuple[str, bytes]]:
        """(archive, stanza) of each version of *name*."""
        for number, begin, end in self._stanzas.get(name, ()):
            archive, text = self._archives[number]
            yield archive, text[begin:end]

    def __len__(self) -> int:
        return len(self._stanzas)

    def candidates(self, name: str) -> tuple[Candidate, ...]:
        """Versions of *name*, newest first; of equal ones the first archive's."""
        known = self._parsed.get(name)
        if known is None:
            every = [_candidate(stanza, archive) for archive, stanza in self._offers(name)]
            fitting = [one for one in every if one.package.architecture in (self.architecture, "all")]
            known = tuple(sorted(fitting, key=lambda one: version_key(one.version), reverse=True))
            self._parsed[name] = known
        return known

    def providers(self, name: str) -> list[Candidate]:
        """Newest versions of packages that provide *name*, the preferred one first."""
        if self._providers is None:
            self._providers = self._read_provides()
        newest = (self.candidates(provider)[:1] for provider in self._providers.get(name, ()))
        found = [one[0] for one in newest if one and any(name == group[0].name for group in one[0].provides)]
        return sorted(found, key=lambda one: one.rank)

    def _read_provides(self) -> dict[str, list[str]]:
        providers: dict[str, list[str]] = {}
        for provider, stanzas in self._stanzas.items():
            for number, begin, end in stanzas:
                text = self._archives[number][1]
                start = text.find(b"\nProvides: ", begin, end)
                if start < 0:
                    continue
                line_end = text.find(b"\n", start + 1, end)
                line = text[start + 11 : end if line_end < 0 else line_end].decode(errors="replace")
                for provided in line.split(","):
                    names = providers.setdefault(provided.split("(")[0].split(":")[0].strip(), [])
                    if provider not in names:
                        names.append(provider)
        return providers

    def base_names(self) -> list[str]:
        """Packages without which nothing works: Essential, and those of priority `required` (as debootstrap's minbase)."""
        return sorted(
            name
            for name in self._stanzas
            if any(b"\nEssential: yes" in stanza or b"\nPriority: required" in stanza for _, stanza in self._offers(name))
        )

    def names_like(self, name: str) -> list[str]:
        """Of the many thousands those that a person who wrote *name* may have meant: as long, with the same first letter."""
        return [known for known in self._stanzas if known[:1] == name[:1] and abs(len(known) - len(name)) <= 3]
