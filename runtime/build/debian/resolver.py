"""Choose packages: the wanted ones and what they depend on. A pure function of the index and the wishes.

No search: like debootstrap and apt's first choice, the first alternative that can be had is taken. Hard dependencies come
before alternatives, so that `x | y` asks for nothing new where something else needs `y` anyway; and the result does not
depend on the order of wishes. Recommends are left out. A conflict between two needed packages is an error that names both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from runtime.build.debian.index import Candidate, PackageIndex
from runtime.build.debian.relations import Group, Relation, show_group
from runtime.build.plan import DebPackage
from runtime.errors import NotAvailable
from runtime.light_dataclasses import dataclass, field
from runtime.suggestions import did_you_mean

_PREFERRED = {"usr-is-merged"}
"""Taken first wherever it is an alternative: our tree has a merged /usr from the start, so bookworm's `usrmerge`, which
would convert a running system and needs all of perl, has nothing to do (debootstrap leaves it out too)."""


@dataclass(slots=True)
class _Selection:
    """What is chosen so far."""

    index: PackageIndex
    chosen: dict[str, Candidate] = field(default_factory=dict)
    provided: dict[str, list[tuple[Candidate, Relation]]] = field(default_factory=dict)
    wanted_by: dict[str, str] = field(default_factory=dict)
    pending: deque[tuple[str, Group]] = field(default_factory=deque)
    """Groups with one way to satisfy them, each with who asks."""
    alternatives: deque[tuple[str, Group]] = field(default_factory=deque)

    def add(self, candidate: Candidate, *, asked_by: str, follow: bool = True) -> None:
        self.chosen[candidate.name] = candidate
        self.wanted_by[candidate.name] = asked_by
        for group in candidate.provides:
            self.provided.setdefault(group[0].name, []).append((candidate, group[0]))
        if follow:
            for group in candidate.depends:
                (self.pending if len(group) == 1 else self.alternatives).append((candidate.name, group))

    def matching(self, relation: Relation) -> list[Candidate]:
        """Chosen packages that are, or provide, what *relation* names."""
        if relation.qualifier not in ("", "any", "native", self.index.architecture):
            return []
        found = []
        itself = self.chosen.get(relation.name)
        if itself is not None and relation.allows(itself.version):
            found.append(itself)
        for provider, provision in self.provided.get(relation.name, ()):
            # An unversioned Provides never satisfies a versioned relation (deb-control(5), "Provides").
            if not relation.operator or (provision.version and relation.allows(provision.version)):
                found.append(provider)
        return found

    def clash(self, candidate: Candidate) -> Candidate | None:
        """A chosen package that cannot be installed together with *candidate*."""
        for group in candidate.excludes:
            for other in self.matching(group[0]):
                if other.name != candidate.name:
                    return other
        own = [Relation(candidate.name, "=", candidate.version), *(group[0] for group in candidate.provides)]
        for other in self.chosen.values():
            for group in other.excludes:
                if other.name != candidate.name and any(_is_excluded(group[0], name) for name in own):
                    return other
        return None

    def options(self, relation: Relation) -> list[Candidate]:
        """What could be added for *relation*, the preferred one first."""
        if relation.qualifier not in ("", "any", "native", self.index.architecture):
            return []
        real = [one for one in self.index.candidates(relation.name) if relation.allows(one.version)]
        virtual = [
            one
            for one in self.index.providers(relation.name)
            if not relation.operator
            or any(g[0].name == relation.name and g[0].version and relation.allows(g[0].version) for g in one.provides)
        ]
        return [one for one in [*real, *virtual] if one.name not in self.chosen]


def _is_excluded(exclusion: Relation, own: Relation) -> bool:
    """Whether `Conflicts: exclusion` hits a package that is (or provides) *own*."""
    if exclusion.name != own.name:
        return False
    return not exclusion.operator or (bool(own.version) and exclusion.allows(own.version))


def resolve(
    index: PackageIndex, wanted: Iterable[str], *, already: Sequence[DebPackage] = (), essential: bool = True
) -> tuple[Candidate, ...]:
    """Packages for *wanted* (`name` or `name=version`) beside *already*, sorted by name, without those of *already*.

    *essential*: the archive's essential and required packages are wanted too.
    """
    selection = _Selection(index)
    for package in already:
        selection.add(_candidate_of(index, package), asked_by="the base", follow=False)
    wishes = sorted(set(wanted))
    pinned = {wish.partition("=")[0]: "=" in wish for wish in wishes}
    first: list[tuple[str, Candidate]] = []
    for name in index.base_names() if essential else ():
        first.extend(("the base", one) for one in index.candidates(name)[:1])
    first.extend(("your list", _find_wanted(selection, wish)) for wish in wishes)
    for asked_by, candidate in first:
        if candidate.name not in selection.chosen:
            _take(selection, candidate, asked_by=asked_by)
        elif selection.chosen[candidate.name].version != candidate.version and pinned.get(candidate.name):
            raise NotAvailable(
                f"package `{candidate.name}` is wanted in version `{candidate.version}`, "
                f"but the base has `{selection.chosen[candidate.name].version}`",
                hint="leave the version away",
            )
    while selection.pending or selection.alternatives:
        asked_by, group = (selection.pending or selection.alternatives).popleft()
        _satisfy(selection, group, asked_by=asked_by)
    installed = {package.name for package in already}
    return tuple(one for name, one in sorted(selection.chosen.items()) if name not in installed)


def _candidate_of(index: PackageIndex, package: DebPackage) -> Candidate:
    """The candidate of a package that the layers below hold; its relations are the archive's newest if that version is gone."""
    known = index.candidates(package.name)
    for candidate in known:
        if candidate.version == package.version:
            return candidate
    if known:
        return Candidate(package, (), known[0].excludes, known[0].provides, known[0].priority, known[0].essential)
    return Candidate(package, (), (), ())


def _find_wanted(selection: _Selection, wish: str) -> Candidate:
    index = selection.index
    name, _, version = wish.partition("=")
    known = index.candidates(name)
    if version:
        known = tuple(one for one in known if one.version == version)
        if not known and index.candidates(name):
            offered = ", ".join(f"`{one.version}`" for one in index.candidates(name))
            raise NotAvailable(f"package `{name}` has no version `{version}` in this suite", hint=f"there is {offered}")
    if known:
        return known[0]
    providers = [] if version else index.providers(name)
    provided_already = [one for one in providers if one.name in selection.chosen]
    if len(providers) == 1 or provided_already:
        return (provided_already or providers)[0]
    if providers:
        shown = ", ".join(f"`{one.name}`" for one in providers[:6])
        raise NotAvailable(f"package `{name}` is a name that several packages provide", hint=f"name one of them: {shown}")
    hint = did_you_mean(name, index.names_like(name), limit=3) or "only Debian's section `main` is used"
    raise NotAvailable(f"package `{name}` is not in this suite", hint=hint)


def _satisfy(selection: _Selection, group: Group, *, asked_by: str) -> None:
    if any(selection.matching(relation) for relation in group):
        return
    clashes = []
    for relation in sorted(group, key=lambda one: one.name not in _PREFERRED):
        for candidate in selection.options(relation):
            other = selection.clash(candidate)
            if other is None:
                selection.add(candidate, asked_by=asked_by)
                return
            clashes.append(f"`{candidate.name}` conflicts with `{other.name}`")
    chosen = [selection.chosen[relation.name] for relation in group if relation.name in selection.chosen]
    reasons = clashes + [f"`{one.name}` is there in version `{one.version}`" for one in chosen]
    raise NotAvailable(
        f"package `{asked_by}` needs `{show_group(group)}`, which is not available: "
        f"{'; '.join(reasons) if reasons else 'no archive has it'}",
        hint=_chain(selection, asked_by),
    )


def _take(selection: _Selection, candidate: Candidate, *, asked_by: str) -> None:
    other = selection.clash(candidate)
    if other is not None:
        raise NotAvailable(
            f"packages `{candidate.name}` and `{other.name}` cannot be installed together",
            hint=f"`{other.name}` is there because of {selection.wanted_by[other.name]}",
        )
    selection.add(candidate, asked_by=asked_by)


def _chain(selection: _Selection, name: str) -> str:
    """`git` ← `your list`: who wanted whom."""
    chain = [name]
    while (parent := selection.wanted_by.get(chain[-1])) is not None and parent not in chain:
        chain.append(parent)
    return "wanted by: " + " ← ".join(chain)
