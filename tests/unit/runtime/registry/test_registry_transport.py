"""TLS, plain HTTP and proxies: what is trusted, what is refused, and what the refusal says.

`0.0.0.0` reaches this machine without being its loopback by name, so that the rules for other machines hold.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_registry import LoopbackRegistry, Request, loopback_registry

from runtime.errors import NetworkError
from runtime.http.client import Patience
from runtime.registry.client import Registry
from runtime.registry.credentials import Credentials

NOBODY = {"HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
HASTE = Patience(timeout_s=5.0, attempts=2, first_pause_s=0.01)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate in one file."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    done = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"),
            *("-addext", "subjectAltName=IP:0.0.0.0,IP:127.0.0.1", "-keyout", "-", "-out", "-"),
        ],
        check=True,
        capture_output=True,
    )
    file.write_bytes(done.stdout)
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[LoopbackRegistry]:
    with loopback_registry(certificate=certificate) as running:
        running.put_image("lab/image", "v1", b"layer")
        yield running


@pytest.fixture
def plain() -> Iterator[LoopbackRegistry]:
    with loopback_registry() as running:
        running.put_image("lab/image", "v1", b"layer")
        yield running


def client(registry: LoopbackRegistry, environ: dict[str, str] | None = None, *, host: str = "0.0.0.0", **more: bool) -> Registry:
    return Registry(f"{host}:{registry.port}", environ={**NOBODY, **(environ or {})}, patience=HASTE, **more)


def test_an_unknown_certificate_is_refused_with_the_ways_to_trust_it(secure: LoopbackRegistry) -> None:
    with pytest.raises(NetworkError, match="its certificate is not trusted: self-signed certificate") as told:
        client(secure).manifest_digest("lab/image", "v1")
    assert "certs.d" in str(told.value.hint)
    assert "SSL_CERT_FILE" in str(told.value.hint)
    assert [] == secure.requests


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_is_trusted(secure: LoopbackRegistry, certificate: Path, variable: str) -> None:
    assert client(secure, {variable: str(certificate)}).manifest_digest("lab/image", "v1")


def test_a_bundle_that_is_not_there_is_named(secure: LoopbackRegistry) -> None:
    with pytest.raises(NetworkError, match=r"`SSL_CERT_FILE` names `/nonexistent/ca\.pem`, which cannot be read"):
        client(secure, {"SSL_CERT_FILE": "/nonexistent/ca.pem"}).manifest_digest("lab/image", "v1")


def test_an_authority_of_one_registry_is_trusted_there(secure: LoopbackRegistry, certificate: Path, tmp_path: Path) -> None:
    directory = tmp_path / "containers/certs.d" / f"0.0.0.0:{secure.port}"
    directory.mkdir(parents=True)
    (directory / "ca.crt").symlink_to(certificate)
    assert client(secure, {"XDG_CONFIG_HOME": str(tmp_path)}).manifest_digest("lab/image", "v1")


def test_an_insecure_registry_needs_no_known_certificate(secure: LoopbackRegistry) -> None:
    assert client(secure, insecure=True).manifest_digest("lab/image", "v1")


def test_an_insecure_registry_may_speak_plain_http(plain: LoopbackRegistry, tmp_path: Path) -> None:
    file = tmp_path / "launch/registries.conf"
    file.parent.mkdir()
    file.write_text(f'[[registry]]\nlocation = "0.0.0.0:{plain.port}"\ninsecure = true\n')
    assert client(plain, {"XDG_CONFIG_HOME": str(tmp_path)}).manifest_digest("lab/image", "v1")


def test_plain_http_is_refused_elsewhere_and_the_way_to_allow_it_shown(plain: LoopbackRegistry) -> None:
    with pytest.raises(NetworkError, match="does not speak TLS") as told:
        client(plain).manifest_digest("lab/image", "v1")
    assert "insecure = true" in str(told.value.hint)


def test_on_loopback_both_kinds_are_found(plain: LoopbackRegistry, secure: LoopbackRegistry) -> None:
    assert client(plain, host="127.0.0.1").manifest_digest("lab/image", "v1")
    assert client(secure, host="127.0.0.1").manifest_digest("lab/image", "v1")


def test_a_redirect_out_of_tls_is_refused(secure: LoopbackRegistry, plain: LoopbackRegistry, certificate: Path) -> None:
    def redirect(request: Request) -> bool:
        request.answer(307, b"", {"Location": f"http://0.0.0.0:{plain.port}{request.path}"})
        return True

    secure.rules = [("manifests", redirect)]
    with pytest.raises(NetworkError, match="redirects from https to `http://"):
        client(secure, {"SSL_CERT_FILE": str(certificate)}).manifest_digest("lab/image", "v1")


def test_a_password_is_not_sent_to_a_realm_without_tls(
    secure: LoopbackRegistry, plain: LoopbackRegistry, certificate: Path
) -> None:
    def challenge(request: Request) -> bool:
        request.answer(401, b"", {"WWW-Authenticate": f'Bearer realm="http://0.0.0.0:{plain.port}/token"'})
        return True

    secure.rules = [("/v2/", challenge)]
    environ = {**NOBODY, "SSL_CERT_FILE": str(certificate)}
    registry = Registry(f"0.0.0.0:{secure.port}", environ=environ, credentials=Credentials("u", "p"), patience=HASTE)
    with pytest.raises(NetworkError, match="which is not https"):
        registry.check_login()
    assert [] == plain.requests


def test_where_an_insecure_registry_sends_us_is_not_insecure(secure: LoopbackRegistry, plain: LoopbackRegistry) -> None:
    """A registry on loopback may name a realm on the network; a password goes to nobody whom we don't know."""

    def challenge(request: Request) -> bool:
        request.answer(401, b"", {"WWW-Authenticate": f'Bearer realm="https://0.0.0.0:{secure.port}/token"'})
        return True

    plain.rules = [("/v2/", challenge)]
    registry = Registry(plain.host, environ=NOBODY, credentials=Credentials("u", "p"), patience=HASTE)
    with pytest.raises(NetworkError, match=f"`0.0.0.0:{secure.port}`, where registry `{plain.host}` sends us: its certificate"):
        registry.check_login()
    assert [] == secure.requests


def test_requests_go_through_the_proxy(plain: LoopbackRegistry) -> None:
    """The registry here plays the proxy: it is asked for whole addresses, with the proxy's login."""
    environ = {**NOBODY, "http_proxy": f"http://me:secret@{plain.host}"}
    plain.rules = [("http://registry.test", lambda request: bool(request.answer(200, b"{}")) or True)]
    registry = Registry("registry.test", environ=environ, insecure=True, patience=HASTE)
    registry.check_login()
    assert ["GET http://registry.test/v2/"] * 2 == plain.paths()
    assert "Basic bWU6c2VjcmV0" == plain.requests[-1].headers["Proxy-Authorization"]


def test_a_proxy_that_refuses_is_named_without_its_password(plain: LoopbackRegistry) -> None:
    environ = {**NOBODY, "HTTPS_PROXY": f"http://me:secret@{plain.host}"}
    registry = Registry("registry.test", environ=environ, patience=HASTE)
    with pytest.raises(NetworkError, match=r"registry `registry\.test` cannot be asked: Tunnel connection failed: 501") as told:
        registry.check_login()
    assert f"http://***@{plain.host}" in str(told.value.hint)


def test_a_name_that_nobody_can_resolve_is_told() -> None:
    for host in ("no-such-host.invalid", "a" * 70 + ".invalid"):
        with pytest.raises(NetworkError, match=f"registry `{host}`"):
            Registry(host, environ=NOBODY, patience=HASTE).check_login()
