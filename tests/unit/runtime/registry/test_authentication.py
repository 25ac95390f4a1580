"""Debian's `docker-registry` with passwords and with tokens lets us in, and says why when it doesn't."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_server import RegistryServer, registry_server
from token_server import TokenServer, registry_with_tokens

from runtime.oci.digest import canonical_json, digest_bytes
from runtime.oci.image_documents import CONFIG, LAYER, MANIFEST
from runtime.oci.reference import Remote
from runtime.registry.client import Registry
from runtime.registry.credentials import Credentials
from runtime.registry.pull import open_remote
from runtime.registry.refusals import RegistryRefusal

pytestmark = pytest.mark.requires("docker-registry", "htpasswd", "skopeo")

NOBODY = {"HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
CI = Credentials("ci", "s3cret")
PLAIN = bytes(range(256)) * 4096
LAYER_BYTES = gzip.compress(PLAIN, mtime=0)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image for skopeo to push."""
    directory = tmp_path_factory.mktemp("layout")
    (directory / "blobs/sha256").mkdir(parents=True)

    def blob(content: bytes) -> dict[str, object]:
        digest = digest_bytes(content)
        (directory / "blobs/sha256" / digest.hex).write_bytes(content)
        return {"digest": digest, "size": len(content)}

    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [digest_bytes(PLAIN)]},
        "config": {"Env": ["A=1"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **blob(canonical_json(config))},
        "layers": [{"mediaType": f"{LAYER}+gzip", **blob(LAYER_BYTES)}],
    }
    listed = {"mediaType": MANIFEST, **blob(canonical_json(manifest))}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory


@pytest.fixture(scope="module")
def with_password(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[RegistryServer]:
    with registry_server(tmp_path_factory.mktemp("htpasswd"), login=("ci", "s3cret")) as server:
        push(layout, server, "lab/image:v1")
        yield server


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[tuple[RegistryServer, TokenServer]]:
    with registry_with_tokens(tmp_path_factory.mktemp("tokens")) as (server, tokens):
        push(layout, server, "lab/image:v1")
        push(layout, server, "public/image:v1")
        yield server, tokens


@pytest.fixture
def tokens(with_tokens: tuple[RegistryServer, TokenServer]) -> TokenServer:
    _, tokens = with_tokens
    tokens.asked.clear()
    tokens.lives_s = tokens.ends_after_s = 300
    return tokens


def push(layout: Path, server: RegistryServer, name: str) -> None:
    subprocess.run(
        [
            *("skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", "ci:s3cret"),
            *(f"oci:{layout}", f"docker://{server.address}/{name}"),
        ],
        check=True,
        capture_output=True,
    )


def logged_in(directory: Path, host: str, **entry: str) -> dict[str, str]:
    """An environment with docker's file."""
    (directory / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    return {**NOBODY, "DOCKER_CONFIG": str(directory)}


def test_a_password_lets_us_pull(with_password: RegistryServer, tmp_path: Path) -> None:
    environ = logged_in(tmp_path, with_password.address, auth="Y2k6czNjcmV0")
    reference = Remote(with_password.address, "lab/image", "v1", None)
    with open_remote(reference, architecture="amd64", environ=environ) as source:
        assert ["A=1"] == source.contents.execution["Env"]
        with source.layer(0) as file:
            assert LAYER_BYTES == file.read()


def test_without_a_login_the_way_to_one_is_shown(with_password: RegistryServer) -> None:
    with pytest.raises(RegistryRefusal, match="manifest `v1` of `lab/image` is refused without a login") as told:
        Registry(with_password.address, environ=NOBODY).manifest("lab/image", "v1")
    assert 401 == told.value.status
    assert f"`launch login {with_password.address}`" in str(told.value.hint)


def test_a_wrong_password_is_told_with_its_user(with_password: RegistryServer) -> None:
    with pytest.raises(RegistryRefusal, match="the login is refused to user `ci`"):
        Registry(with_password.address, environ=NOBODY, credentials=Credentials("ci", "wrong")).check_login()


def test_tokens_are_asked_for_once_for_each_scope(with_tokens: tuple[RegistryServer, TokenServer], tokens: TokenServer) -> None:
    registry = Registry(with_tokens[0].address, environ=NOBODY, credentials=CI)
    assert registry.manifest_digest("lab/image", "v1")
    assert registry.blob_size("lab/image", digest_bytes(LAYER_BYTES)) == len(LAYER_BYTES)
    registry.start_upload("lab/image")
    registry.start_upload("lab/image")
    scopes = [fields["scope"] for fields in tokens.asked]
    assert [["repository:lab/image:pull"], ["repository:lab/image:pull,push"]] == scopes
    assert ["ci"] == tokens.asked[0]["account"]


def test_anybody_gets_a_token_for_what_is_public(with_tokens: tuple[RegistryServer, TokenServer], tokens: TokenServer) -> None:
    registry = Registry(with_tokens[0].address, environ=NOBODY)
    assert registry.manifest_digest("public/image", "v1")
    assert "account" not in tokens.asked[0]
    with pytest.raises(RegistryRefusal, match="`lab/image` is refused without a login"):
        registry.manifest("lab/image", "v1")


def test_an_identity_token_is_exchanged(
    with_tokens: tuple[RegistryServer, TokenServer], tokens: TokenServer, tmp_path: Path
) -> None:
    server, _ = with_tokens
    environ = logged_in(tmp_path, server.address, identitytoken="refresh-me")
    assert Registry(server.address, environ=environ).manifest_digest("lab/image", "v1")
    assert [["refresh_token"], ["launch"]] == [tokens.asked[0][name] for name in ("grant_type", "client_id")]


def test_a_token_that_ends_early_is_replaced(with_tokens: tuple[RegistryServer, TokenServer], tokens: TokenServer) -> None:
    """The registry has the last word, whatever the token said of its life."""
    tokens.ends_after_s = -120
    registry = Registry(with_tokens[0].address, environ=NOBODY, credentials=CI)
    with pytest.raises(RegistryRefusal, match="is refused to user `ci`"):
        registry.manifest("lab/image", "v1")
    tokens.ends_after_s = 300
    assert registry.manifest_digest("lab/image", "v1")


def test_a_wrong_password_is_told_where_tokens_are_given(with_tokens: tuple[RegistryServer, TokenServer]) -> None:
    with pytest.raises(
        RegistryRefusal, match=r"a token from `http://127\.0\.0\.1:\d+/token` .* is refused to user `ci`: wrong password"
    ):
        Registry(with_tokens[0].address, environ=NOBODY, credentials=Credentials("ci", "wrong")).check_login()


def test_a_login_asks_for_nothing_in_particular(with_tokens: tuple[RegistryServer, TokenServer], tokens: TokenServer) -> None:
    Registry(with_tokens[0].address, environ=NOBODY, credentials=CI).check_login()
    assert "scope" not in tokens.asked[0]


def test_a_mount_asks_for_both_repositories(with_tokens: tuple[RegistryServer, TokenServer], tokens: TokenServer) -> None:
    registry = Registry(with_tokens[0].address, environ=NOBODY, credentials=CI)
    name = f"lab/mounted-{time.monotonic_ns()}"
    assert registry.mount_blob(name, digest_bytes(LAYER_BYTES), "lab/image")
    assert len(LAYER_BYTES) == registry.blob_size(name, digest_bytes(LAYER_BYTES))
    assert [f"repository:{name}:pull,push", "repository:lab/image:pull"] == tokens.asked[0]["scope"]


def test_a_registry_may_be_shared_by_threads(with_tokens: tuple[RegistryServer, TokenServer], tokens: TokenServer) -> None:
    registry = Registry(with_tokens[0].address, environ=NOBODY, credentials=CI)
    read: list[bytes] = []

    def fetch() -> None:
        with registry.open_blob("lab/image", digest_bytes(LAYER_BYTES)) as answer:
            read.append(answer.read_all(1 << 30, "it"))

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [LAYER_BYTES] * 8 == read
    assert 1 == len(tokens.asked)
