"""Credentials where docker and podman keep them, and the helpers that they name."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import BadContent, ToolFailed, Unsupported
from runtime.registry.credential_store import forget_credentials, store_credentials
from runtime.registry.credentials import Credentials, find_credentials

HELPER = """\
#!/bin/sh
# Keeps one file a server, named after it.
file() { printf '%s/%s' "$KEPT" "$(printf %s "$1" | tr '/:' '__')"; }
case "$1" in
get) read -r server; f=$(file "$server"); [ -f "$f" ] && cat "$f" && exit
     echo "credentials not found in native keychain"; exit 1 ;;
store) document=$(cat); server=$(printf %s "$document" | sed 's/.*"ServerURL": "\\([^"]*\\)".*/\\1/')
       printf %s "$document" > "$(file "$server")" ;;
erase) read -r server; rm -f "$(file "$server")" ;;
esac
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "kept").mkdir()
    (tmp_path / "bin").mkdir()
    helper = tmp_path / "bin/docker-credential-vault"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "KEPT": str(tmp_path / "kept"),
    }


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def docker(environ: Mapping[str, str], document: Mapping[str, Any]) -> Path:
    return write(Path(environ["HOME"], ".docker/config.json"), document)


def podman(environ: Mapping[str, str], document: Mapping[str, Any]) -> Path:
    return write(Path(environ["XDG_RUNTIME_DIR"], "containers/auth.json"), document)


def write(path: Path, document: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_without_files_nobody_is_logged_in(environ: dict[str, str]) -> None:
    assert find_credentials("reg.lab", "a/b", environ) is None
    assert find_credentials("reg.lab", "a/b", {"XDG_RUNTIME_DIR": environ["XDG_RUNTIME_DIR"]}) is None


@pytest.mark.parametrize("key", ["reg.lab:5000", "https://reg.lab:5000", "https://reg.lab:5000/v1/", "http://reg.lab:5000/v2/"])
def test_dockers_file_is_read_however_it_spells_the_registry(environ: dict[str, str], key: str) -> None:
    docker(environ, {"auths": {key: auth("ann", "pa:ss")}})
    assert Credentials("ann", "pa:ss") == find_credentials("reg.lab:5000", "a/b", environ)
    assert find_credentials("reg.lab", "a/b", environ) is None


def test_docker_hub_is_filed_under_its_old_address(environ: dict[str, str]) -> None:
    docker(environ, {"auths": {"https://index.docker.io/v1/": auth("ann", "x")}})
    assert Credentials("ann", "x") == find_credentials("docker.io", "library/python", environ)


def test_podmans_file_comes_first_and_knows_parts_of_a_registry(environ: dict[str, str]) -> None:
    docker(environ, {"auths": {"reg.lab": auth("docker", "x")}})
    podman(environ, {"auths": {"reg.lab": auth("all", "x"), "reg.lab/team": auth("team", "x"), "reg.lab/team/a": auth("a", "x")}})
    found = [find_credentials("reg.lab", name, environ) for name in ("team/a/b", "team/b", "teams/a", "other")]
    assert ["a", "team", "all", "all"] == [credentials.user for credentials in found if credentials is not None]


def test_a_named_file_is_the_only_one(environ: dict[str, str], tmp_path: Path) -> None:
    docker(environ, {"auths": {"reg.lab": auth("docker", "x")}})
    environ["REGISTRY_AUTH_FILE"] = str(write(tmp_path / "own.json", {"auths": {"other.lab": auth("o", "x")}}))
    assert find_credentials("reg.lab", "a", environ) is None
    assert Credentials("o", "x") == find_credentials("other.lab", "a", environ)


def test_identity_tokens_are_found(environ: dict[str, str]) -> None:
    docker(environ, {"auths": {"reg.lab": {**auth("00000000-0000-0000-0000-000000000000", ""), "identitytoken": "t"}}})
    found = find_credentials("reg.lab", "a", environ)
    assert found is not None
    assert "t" == found.identity_token


def test_secrets_are_not_shown_with_the_value() -> None:
    assert "hunter2" not in repr(Credentials("u", "hunter2", "hunter2"))


def test_a_helper_is_asked_for_its_registry_and_the_store_for_all(environ: dict[str, str]) -> None:
    docker(environ, {"credHelpers": {"reg.lab": "vault"}})
    Path(environ["KEPT"], "reg.lab").write_text('{"ServerURL": "reg.lab", "Username": "ann", "Secret": "s"}')
    assert Credentials("ann", "s") == find_credentials("reg.lab", "a", environ)
    assert find_credentials("other.lab", "a", environ) is None
    docker(environ, {"credsStore": "vault", "auths": {"reg.lab": {}}})
    assert Credentials("ann", "s") == find_credentials("reg.lab", "a", environ)


def test_a_token_of_a_helper_is_an_identity_token(environ: dict[str, str]) -> None:
    docker(environ, {"credsStore": "vault"})
    Path(environ["KEPT"], "reg.lab").write_text('{"ServerURL": "reg.lab", "Username": "<token>", "Secret": "s"}')
    assert Credentials("", "", "s") == find_credentials("reg.lab", "a", environ)


def test_a_helper_that_is_not_installed_is_named(environ: dict[str, str]) -> None:
    docker(environ, {"credsStore": "gone"})
    with pytest.raises(Unsupported, match="`docker-credential-gone` is not installed"):
        find_credentials("reg.lab", "a", environ)


def test_a_helpers_own_words_are_kept(environ: dict[str, str], tmp_path: Path) -> None:
    helper = tmp_path / "bin/docker-credential-sad"
    helper.write_text("#!/bin/sh\necho the vault is locked\nexit 1\n")
    helper.chmod(0o755)
    docker(environ, {"credsStore": "sad"})
    with pytest.raises(ToolFailed, match="the vault is locked"):
        find_credentials("reg.lab", "a", environ)


def test_a_helper_cannot_be_a_path(environ: dict[str, str]) -> None:
    docker(environ, {"credsStore": "../../tmp/evil"})
    with pytest.raises(BadContent, match="no name of a credential helper"):
        find_credentials("reg.lab", "a", environ)


@pytest.mark.parametrize(
    "entry", [{"auth": "%%%"}, {"auth": base64.b64encode(b"nocolon").decode()}, {"auth": 7}, {"identitytoken": 7}]
)
def test_damaged_entries_are_named_with_their_file(environ: dict[str, str], entry: dict[str, Any]) -> None:
    file = docker(environ, {"auths": {"reg.lab": entry}})
    with pytest.raises(BadContent, match=f"`reg.lab` in `{file}` are damaged"):
        find_credentials("reg.lab", "a", environ)


def test_a_damaged_file_is_named(environ: dict[str, str]) -> None:
    file = docker(environ, {})
    file.write_text("{")
    with pytest.raises(BadContent, match=f"`{file}` are not valid JSON"):
        find_credentials("reg.lab", "a", environ)


def test_a_login_keeps_every_other_entry_and_is_for_its_owner_alone(environ: dict[str, str]) -> None:
    file = docker(environ, {"auths": {"other.lab": auth("o", "x"), "https://reg.lab/v1/": auth("old", "x")}, "psFormat": "table"})
    file.chmod(0o644)
    assert str(file) == store_credentials("reg.lab", Credentials("ann", "s"), environ)
    document = json.loads(file.read_text())
    assert {"other.lab": auth("o", "x"), "reg.lab": auth("ann", "s")} == document["auths"]
    assert "table" == document["psFormat"]
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_a_login_makes_the_file_and_hub_has_its_own_key(environ: dict[str, str]) -> None:
    store_credentials("docker.io", Credentials("ann", "s"), environ)
    file = Path(environ["HOME"], ".docker/config.json")
    assert {"https://index.docker.io/v1/": auth("ann", "s")} == json.loads(file.read_text())["auths"]
    assert 0o700 == stat.S_IMODE(file.parent.stat().st_mode)


def test_a_linked_file_stays_a_link(environ: dict[str, str], tmp_path: Path) -> None:
    file = docker(environ, {})
    real = file.rename(tmp_path / "dotfile.json")
    file.symlink_to(real)
    store_credentials("reg.lab", Credentials("ann", "s"), environ)
    assert file.is_symlink()
    assert "reg.lab" in json.loads(real.read_text())["auths"]


def test_what_podman_would_believe_first_is_changed_too(environ: dict[str, str]) -> None:
    file = podman(environ, {"auths": {"reg.lab": auth("old", "x"), "reg.lab/team": auth("team", "x")}})
    store_credentials("reg.lab", Credentials("ann", "s"), environ)
    assert {"reg.lab": auth("ann", "s"), "reg.lab/team": auth("team", "x")} == json.loads(file.read_text())["auths"]
    assert Credentials("ann", "s") == find_credentials("reg.lab", "a", environ)


def test_a_helper_keeps_the_password_and_the_file_only_notes_it(environ: dict[str, str]) -> None:
    file = docker(environ, {"credsStore": "vault"})
    assert "docker-credential-vault" == store_credentials("reg.lab", Credentials("ann", "s"), environ)
    assert {"reg.lab": {}} == json.loads(file.read_text())["auths"]
    assert "s" not in file.read_text().replace("credsStore", "").replace("auths", "")
    assert Credentials("ann", "s") == find_credentials("reg.lab", "a", environ)


def test_forgetting_finds_every_place(environ: dict[str, str]) -> None:
    docker(environ, {"credsStore": "vault", "auths": {"other.lab": {}}})
    store_credentials("reg.lab", Credentials("ann", "s"), environ)
    podman(environ, {"auths": {"reg.lab": auth("ann", "s"), "other.lab": auth("o", "x")}})
    forgotten = forget_credentials("reg.lab", environ)
    assert 3 == len(forgotten)
    assert "docker-credential-vault" in forgotten
    assert [] == os.listdir(environ["KEPT"])
    assert find_credentials("reg.lab", "a", environ) is None
    assert Credentials("o", "x") == find_credentials("other.lab", "a", environ)
    assert () == forget_credentials("reg.lab", environ)


def test_logins_at_the_same_time_keep_each_other(environ: dict[str, str]) -> None:
    threads = [
        threading.Thread(target=store_credentials, args=(f"reg{number}.lab", Credentials("u", "p"), environ))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 12 == len(json.loads(Path(environ["HOME"], ".docker/config.json").read_text())["auths"])
