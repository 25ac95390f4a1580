"""containers-registries.conf(5): mirrors, other locations, insecure and blocked registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import BadContent, Unsupported
from runtime.oci.digest import Digest
from runtime.oci.reference import Remote, parse_reference
from runtime.registry.configuration import RegistriesConfiguration, registries_configuration

CONFIGURATION = """
unqualified-search-registries = ["somewhere.example"]

[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.lab:5000/hub"
insecure = true
[[registry.mirror]]
location = "digests.lab"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.lab"
pull-from-mirror = "tag-only"

[[registry]]
prefix = "example.com/team"
location = "internal.lab/ours"
insecure = true

[[registry]]
prefix = "*.evil.example"
blocked = true
"""


def configured(tmp_path: Path, text: str = CONFIGURATION) -> RegistriesConfiguration:
    file = tmp_path / "launch/registries.conf"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return registries_configuration({"XDG_CONFIG_HOME": str(tmp_path)}, root=tmp_path)


def remote(text: str) -> Remote:
    parsed = parse_reference(text)
    assert isinstance(parsed, Remote)
    return parsed


def asked(configuration: RegistriesConfiguration, reference: Remote) -> list[str]:
    return [f"{endpoint.host}/{endpoint.repository}" for endpoint in configuration.endpoints(reference)]


def test_without_configuration_the_name_says_where(tmp_path: Path) -> None:
    configuration = registries_configuration({"XDG_CONFIG_HOME": str(tmp_path)}, root=tmp_path)
    assert ["docker.io/library/python"] == asked(configuration, remote("python:3.12"))


def test_mirrors_come_first_in_their_order(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    expected = ["mirror.lab:5000/hub/library/python", "tags.lab/library/python", "docker.io/library/python"]
    assert expected == asked(configuration, remote("python:3.12"))
    by_digest = remote(f"python@{Digest('sha256:' + 'a' * 64)}")
    assert "digests.lab/library/python" == asked(configuration, by_digest)[1]
    mirror, *_, origin = configuration.endpoints(remote("python"))
    assert (mirror.insecure, mirror.is_mirror) == (True, True)
    assert (origin.insecure, origin.is_mirror) == (False, False)


def test_a_prefix_ends_at_a_boundary_and_the_longest_one_counts(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    assert ["internal.lab/ours/a"] == asked(configuration, remote("example.com/team/a:1"))
    assert ["example.com/teams/a"] == asked(configuration, remote("example.com/teams/a:1"))
    assert configuration.is_insecure("internal.lab")
    assert configuration.is_insecure("mirror.lab:5000")
    assert not configuration.is_insecure("example.com")


def test_a_blocked_registry_is_refused_with_the_file_that_says_so(tmp_path: Path) -> None:
    configuration = configured(tmp_path)
    with pytest.raises(Unsupported, match=r"`reg\.evil\.example/x` is blocked by `.*registries.conf`"):
        configuration.endpoints(remote("reg.evil.example/x:1"))
    assert ["evil.example/x"] == asked(configuration, remote("evil.example/x:1"))


def test_our_file_comes_before_podmans_and_the_users_before_the_machines(tmp_path: Path) -> None:
    def place(file: str, location: str) -> None:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'[[registry]]\nprefix = "x.lab"\nlocation = "{location}"\n')

    def first() -> str:
        configuration = registries_configuration({"XDG_CONFIG_HOME": str(tmp_path / "own")}, root=tmp_path)
        return configuration.endpoints(remote("x.lab/a:1"))[0].host

    for file, location in (
        ("etc/containers/registries.conf", "machine.lab"),
        ("etc/containers/registries.conf.d/10-a.conf", "part.lab"),
        ("etc/containers/registries.conf.d/20-b.conf", "later-part.lab"),
        ("own/containers/registries.conf", "user.lab"),
        ("own/launch/registries.conf", "launch.lab"),
    ):
        place(file, location)
        assert location == first()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("[[registry]\n", "not valid TOML", id="no TOML"),
        pytest.param("[registry]\nx = 1\n", "`registry` is not a list", id="a table"),
        pytest.param('[[registry]]\nprefix = "x"\n', "has no `location`", id="no location"),
        pytest.param('[[registry]]\nlocation = "https://x"\n', "not `HOST", id="an address"),
        pytest.param('[[registry]]\nlocation = "x"\ninsecure = "yes"\n', "not true or false", id="a word for a truth"),
        pytest.param(
            '[[registry]]\nlocation = "x"\n[[registry.mirror]]\ninsecure = true\n', "mirror.* no `location`", id="mirror"
        ),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(BadContent, match=rf"`.*launch/registries\.conf`.*{why}"):
        configured(tmp_path, text)
