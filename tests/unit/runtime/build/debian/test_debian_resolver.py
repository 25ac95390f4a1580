"""Choice of packages: dependencies, alternatives, virtual packages, conflicts; and what is said when it cannot be done."""

from __future__ import annotations

import hashlib

import pytest

from runtime.build.debian.index import PackageIndex
from runtime.build.debian.resolver import resolve
from runtime.errors import BadContent, BuildError


def stanza(name: str, version: str = "1.0", **fields: str) -> str:
    fields = {key.replace("_", "-"): value for key, value in fields.items()}
    known = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        **fields,
        "Filename": f"pool/{name}_{version}.deb",
        "Size": "1",
        "SHA256": hashlib.sha256(f"{name}{version}".encode()).hexdigest(),
    }
    return "".join(f"{key}: {value}\n" for key, value in known.items())


def index(*stanzas: str, security: tuple[str, ...] = ()) -> PackageIndex:
    texts = [("main", "\n".join(stanzas).encode()), ("security", "\n".join(security).encode())]
    return PackageIndex(texts, architecture="amd64")


def names(found: tuple) -> list[str]:
    return [candidate.name for candidate in found]


def test_a_base_is_the_essential_and_required_packages_with_their_dependencies() -> None:
    offered = index(
        stanza("base", Essential="yes", Pre_Depends="libc"), stanza("libc"), stanza("must", Priority="required"), stanza("other")
    )
    assert ["base", "libc", "must"] == names(resolve(offered, []))


def test_the_newest_version_of_all_archives_is_taken() -> None:
    found = resolve(index(stanza("a", "1.0-1"), security=(stanza("a", "1.0-1+deb13u1"),)), ["a"])
    assert [("1.0-1+deb13u1", "security")] == [(one.version, one.package.archive) for one in found]


def test_an_alternative_that_is_needed_anyway_is_not_doubled_whatever_the_order() -> None:
    """`a` would take `x`, but `b` needs `y`, which satisfies `a` too."""
    offered = index(stanza("a", Depends="x | y"), stanza("b", Depends="y"), stanza("x"), stanza("y"))
    assert ["a", "b", "y"] == names(resolve(offered, ["a", "b"])) == names(resolve(offered, ["b", "a"]))


def test_the_first_alternative_that_exists_in_a_fitting_version_is_taken() -> None:
    offered = index(stanza("a", Depends="gone | old (>= 2) | good (>= 2)"), stanza("old", "1.0"), stanza("good", "2.1"))
    assert ["a", "good"] == names(resolve(offered, ["a"]))


def test_an_alternative_that_conflicts_with_what_is_chosen_is_passed_over() -> None:
    offered = index(stanza("a", Depends="x | y"), stanza("b"), stanza("x", Conflicts="b"), stanza("y"))
    assert ["a", "b", "y"] == names(resolve(offered, ["a", "b"]))


def test_a_virtual_package_is_provided_by_the_one_of_highest_priority() -> None:
    offered = index(
        stanza("a", Depends="awk"), stanza("gawk", Provides="awk"), stanza("mawk", Provides="awk", Priority="important")
    )
    assert ["a", "mawk"] == names(resolve(offered, ["a"]))


def test_an_unversioned_provides_does_not_satisfy_a_versioned_dependency() -> None:
    with pytest.raises(BuildError, match=r"needs `api \(>= 2\)`, which is not available"):
        resolve(index(stanza("a", Depends="api (>= 2)"), stanza("p", Provides="api")), ["a"])
    assert ["a", "p"] == names(resolve(index(stanza("a", Depends="api (>= 2)"), stanza("p", Provides="api (= 2.1)")), ["a"]))


def test_an_architecture_qualifier_any_is_satisfied_by_our_own() -> None:
    offered = index(stanza("a", Depends="python3:any"), stanza("python3"))
    assert ["a", "python3"] == names(resolve(offered, ["a"]))


def test_packages_onto_a_base_are_only_those_that_it_lacks() -> None:
    offered = index(stanza("git", Depends="libc, perl"), stanza("libc"), stanza("perl"), stanza("base", Essential="yes"))
    base = tuple(one.package for one in resolve(offered, ["libc"]))
    assert ["git", "perl"] == names(resolve(offered, ["git"], already=base, essential=False))


def test_a_package_that_breaks_the_base_is_refused_with_both_names() -> None:
    offered = index(stanza("libc", Essential="yes"), stanza("bad", Breaks="libc (<< 2)"))
    base = tuple(one.package for one in resolve(offered, []))
    with pytest.raises(BuildError, match=r"packages `bad` and `libc` cannot be installed together"):
        resolve(offered, ["bad"], already=base, essential=False)


def test_a_dependency_on_another_version_than_the_base_has_names_that_version() -> None:
    offered = index(stanza("libc", "1.0", Essential="yes"), stanza("dev", Depends="libc (= 0.9)"))
    base = tuple(one.package for one in resolve(offered, []))
    with pytest.raises(BuildError, match=r"needs `libc \(= 0.9\)`.*`libc` is there in version `1.0`"):
        resolve(offered, ["dev"], already=base, essential=False)


def test_a_missing_dependency_names_the_chain_of_who_wants_it() -> None:
    with pytest.raises(BuildError, match=r"package `b` needs `nothere`, which is not available: no archive has it") as caught:
        resolve(index(stanza("a", Depends="b"), stanza("b", Depends="nothere")), ["a"])
    assert "wanted by: b ← a ← your list" == caught.value.hint


def test_a_mistyped_package_is_answered_with_similar_names() -> None:
    with pytest.raises(BuildError, match=r"package `pyton3` is not in this suite") as caught:
        resolve(index(stanza("python3"), stanza("git")), ["pyton3"])
    assert "did you mean `python3`?" == caught.value.hint


def test_a_version_that_is_not_offered_is_answered_with_those_that_are() -> None:
    with pytest.raises(BuildError, match=r"package `git` has no version `9`") as caught:
        resolve(index(stanza("git", "2.47")), ["git=9"])
    assert "there is `2.47`" == caught.value.hint


def test_an_older_version_can_be_named() -> None:
    offered = index(stanza("git", "2.47"), security=(stanza("git", "2.48"),))
    assert ["2.47"] == [one.version for one in resolve(offered, ["git=2.47"])]


def test_a_virtual_name_with_several_providers_is_left_to_the_user() -> None:
    offered = index(stanza("exim", Provides="mta"), stanza("postfix", Provides="mta"))
    with pytest.raises(BuildError, match=r"package `mta` is a name that several packages provide") as caught:
        resolve(offered, ["mta"])
    assert "name one of them: `exim`, `postfix`" == caught.value.hint


def test_bookworm_needs_no_usrmerge_since_its_tree_is_merged() -> None:
    offered = index(stanza("init", Depends="usrmerge | usr-is-merged"), stanza("usrmerge"), stanza("usr-is-merged"))
    assert ["init", "usr-is-merged"] == names(resolve(offered, ["init"]))


@pytest.mark.parametrize("path", ["../../etc/passwd.deb", "pool/../x.deb", "http://elsewhere/x.deb?y"])
def test_a_pool_path_that_leaves_the_archive_is_refused(path: str) -> None:
    bad = stanza("a").replace("pool/a_1.0.deb", path)
    with pytest.raises(BadContent):
        resolve(index(bad), ["a"])
