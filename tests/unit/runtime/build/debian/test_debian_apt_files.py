"""What apt sees in a networked build step whose image names no archive: the host's address and proxy, which no layer may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.build.debian.apt_sources import find_archives
from runtime.build.debian.debian_base import CONFIGURE
from runtime.build.debian.root_skeleton import APT_SOURCE, apt_proxy_file, apt_source_text
from runtime.build.debian.shown_archive import ShownArchive, archive_to_show
from runtime.layer.diff import diff
from runtime.layer.tree import write_tree

ARCHIVES = {"main": "http://a.example/debian", "security": "http://b.example/debian-security"}
RELEASE = 'PRETTY_NAME="Debian GNU/Linux 13"\nVERSION_CODENAME=trixie\nID=debian\n'
LIST = APT_SOURCE.lstrip("/")


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def layer(tmp_path: Path, name: str, files: dict[str, str]) -> Path:
    """A layer's directory with its manifest beside it."""
    root = tmp_path / name / "fs"
    root.mkdir(parents=True)
    write(root, files)
    write_tree(diff(root), tmp_path / name / "tree.jsonl")
    return root


def show(*layers: Path, mirror: str | None = "http://mirror.example/debian none") -> ShownArchive | None:
    return archive_to_show(layers, suite=None, archives=None, mirror=mirror, environ={})


def test_the_address_is_what_apt_would_read(tmp_path: Path) -> None:
    """Judged by our own reader of a host's sources."""
    write(tmp_path, {LIST: apt_source_text("trixie", ARCHIVES)})
    assert {**ARCHIVES, "updates": ARCHIVES["main"]} == find_archives("trixie", mirror=None, environ={}, root=tmp_path)


def test_a_proxy_is_handed_on_and_only_root_may_read_it(tmp_path: Path) -> None:
    environ = {"http_proxy": "http://me:secret@proxy:3128", "no_proxy": "a.example"}
    proxy = apt_proxy_file(environ, root=tmp_path)
    assert proxy is not None
    text = proxy.content.decode()
    assert 'Acquire::http::Proxy "http://me:secret@proxy:3128";\n' in text
    assert 'Acquire::http::Proxy::a.example "DIRECT";\n' in text
    assert 0o400 == proxy.mode
    assert "secret" not in repr(proxy)
    assert apt_proxy_file({}, root=tmp_path) is None


def test_a_debian_from_anywhere_that_names_no_archive_sees_the_host_s(tmp_path: Path) -> None:
    base = layer(tmp_path, "base", {"etc/os-release": RELEASE, LIST: "# nothing\n", "etc/apt/sources.list": "# deb x y z\n"})
    shown = show(base)
    assert shown is not None
    assert "URIs: http://mirror.example/debian\nSuites: trixie\n" in shown.source.decode()


@pytest.mark.parametrize(
    "files",
    [
        {"etc/apt/sources.list": "deb http://own.example/debian trixie main\n"},
        {"etc/apt/sources.list.d/own.sources": "Types: deb\nURIs: http://own.example\nSuites: trixie\nComponents: main\n"},
        {"etc/os-release": RELEASE.replace("ID=debian", "ID=ubuntu")},
        {"etc/os-release": ""},
    ],
    ids=["a list", "deb822", "no Debian", "nobody knows"],
)
def test_an_image_with_an_archive_of_its_own_or_no_debian_sees_none(tmp_path: Path, files: dict[str, str]) -> None:
    base = layer(tmp_path, "base", {"etc/os-release": RELEASE, "etc/apt/apt.conf": ""})
    assert show(base) is not None
    assert show(base, layer(tmp_path, "top", files)) is None


@pytest.mark.parametrize("below", [{LIST: "# nothing\n"}, {"etc/apt/apt.conf": ""}], ids=["a list below", "no directory below"])
def test_what_was_laid_out_for_a_command_is_not_in_its_layer(tmp_path: Path, below: dict[str, str]) -> None:
    base = layer(tmp_path, "base", {"etc/os-release": RELEASE, **below})
    shown = show(base)
    assert shown is not None
    upper = tmp_path / "overlay" / "u"
    made = shown.lay_into(tmp_path / "overlay", [base])
    assert (upper / LIST).read_bytes() == shown.source
    shown.take_from(upper, made)
    assert not [path for path in upper.rglob("*") if not path.is_dir()]
    assert not (upper / LIST).parent.exists() or "sources.list.d" in str(list(base.rglob("*")))


def test_a_list_that_the_command_wrote_stays(tmp_path: Path) -> None:
    base = layer(tmp_path, "base", {"etc/os-release": RELEASE, LIST: "# nothing\n"})
    shown = show(base)
    assert shown is not None
    made = shown.lay_into(tmp_path / "overlay", [base])
    (tmp_path / "overlay" / "u" / LIST).write_text("Types: deb\n")
    shown.take_from(tmp_path / "overlay" / "u", made)
    assert (tmp_path / "overlay" / "u" / LIST).read_text() == "Types: deb\n"


def test_configuring_asks_nothing_and_reaches_nothing() -> None:
    assert "none" == CONFIGURE.network
    assert ("DEBIAN_FRONTEND", "noninteractive") in CONFIGURE.env
