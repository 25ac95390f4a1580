"""What apt sees in a networked build step: the host's address and proxy, which no layer may hold."""

from __future__ import annotations

from pathlib import Path

from runtime.build.debian.apt_sources import find_archives
from runtime.build.debian.debian_base import CONFIGURE
from runtime.build.debian.root_skeleton import apt_files

ARCHIVES = {"main": "http://a.example/debian", "security": "http://b.example/debian-security"}


def test_the_address_is_what_apt_would_read(tmp_path: Path) -> None:
    """Judged by our own reader of a host's sources."""
    (source,) = apt_files("trixie", ARCHIVES, environ={}, root=tmp_path)
    place = tmp_path / source.target.lstrip("/")
    place.parent.mkdir(parents=True)
    place.write_bytes(source.content)
    assert {**ARCHIVES, "updates": ARCHIVES["main"]} == find_archives("trixie", mirror=None, environ={}, root=tmp_path)


def test_a_proxy_is_handed_on_and_only_root_may_read_it(tmp_path: Path) -> None:
    environ = {"http_proxy": "http://me:secret@proxy:3128", "no_proxy": "a.example"}
    _, proxy = apt_files("trixie", ARCHIVES, environ=environ, root=tmp_path)
    text = proxy.content.decode()
    assert 'Acquire::http::Proxy "http://me:secret@proxy:3128";\n' in text
    assert 'Acquire::http::Proxy::a.example "DIRECT";\n' in text
    assert 0o400 == proxy.mode
    assert "secret" not in repr(proxy)


def test_configuring_asks_nothing_and_reaches_nothing() -> None:
    assert "none" == CONFIGURE.network
    assert ("DEBIAN_FRONTEND", "noninteractive") in CONFIGURE.env
