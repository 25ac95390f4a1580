"""Where the archive is, from all the ways in which hosts say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.build.debian.apt_conf import parse_apt_conf, proxy_environ
from runtime.build.debian.apt_sources import find_archives
from runtime.errors import BuildError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def host(tmp_path: Path, **files: str) -> Path:
    """A root with apt files: `list` is sources.list, `x_sources` is sources.list.d/x.sources."""
    directory = tmp_path / "etc/apt/sources.list.d"
    directory.mkdir(parents=True)
    for name, text in files.items():
        path = directory.parent / "sources.list" if name == "list" else directory / name.replace("_", ".")
        path.write_text(text)
    return tmp_path


def archives(root: Path, suite: str = "trixie", *, mirror: str | None = None, **environ: str) -> dict[str, str]:
    return find_archives(suite, mirror=mirror, environ=environ, root=root)


DEB822 = f"""# the default
Types: deb
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main
Signed-By: {KEYRING}

Types: deb
URIs: http://security.example/debian-security
Suites: trixie-security
Components: main
"""


def test_deb822_sources_are_read(tmp_path: Path) -> None:
    expected = {
        "main": "http://mirror.example/debian",
        "updates": "http://mirror.example/debian",
        "security": "http://security.example/debian-security",
    }
    assert expected == archives(host(tmp_path, debian_sources=DEB822))


def test_one_line_sources_are_read_with_options_and_comments(tmp_path: Path) -> None:
    text = (
        "# deb http://no.example/debian trixie main\n"
        f"deb [arch=amd64 signed-by={KEYRING}] http://mirror.example/debian/ trixie main contrib # local\n"
        "deb-src http://src.example/debian trixie main\n"
        "deb http://security.example/debian-security trixie-security main\n"
    )
    found = archives(host(tmp_path, list=text))
    assert ("http://mirror.example/debian", "http://security.example/debian-security") == (found["main"], found["security"])


def test_a_bookworm_host_serves_trixie_from_the_same_address(tmp_path: Path) -> None:
    root = host(tmp_path, debian_sources=DEB822.replace("trixie", "bookworm"))
    assert "http://mirror.example/debian" == archives(root, "trixie")["main"]


def test_the_address_of_the_wanted_suite_is_preferred(tmp_path: Path) -> None:
    text = "deb http://old.example/debian bookworm main\ndeb http://new.example/debian trixie main\n"
    root = host(tmp_path, list=text)
    assert "http://new.example/debian" == archives(root, "trixie")["main"]
    assert "http://old.example/debian" == archives(root, "bookworm")["main"]


def test_third_parties_that_borrow_a_suites_name_are_not_debian(tmp_path: Path) -> None:
    text = (
        "deb [signed-by=/etc/keyrings/browser.gpg] https://browser.example/linux/deb stable main\n"
        "deb [signed-by=/etc/keyrings/db.gpg] https://db.example/linux/apt trixie main\n"
        "deb https://engine.example/linux/debian-like trixie stable\n"
        "deb file:/usr/share/flat ./\n"
    )
    with pytest.raises(BuildError, match=r"no Debian archive is known for `bootstrap:debian/trixie`") as caught:
        archives(host(tmp_path, list=text))
    assert "LAUNCH_DEBIAN_MIRROR" in str(caught.value.hint)


def test_a_host_that_is_no_debian_has_no_archive(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"apt on this machine has none"):
        archives(host(tmp_path, list="deb http://mirror.example/ubuntu noble main\n"))
    with pytest.raises(BuildError):
        archives(tmp_path / "nothing at all")


def test_disabled_stanzas_do_not_count(tmp_path: Path) -> None:
    with pytest.raises(BuildError):
        archives(host(tmp_path, debian_sources="Enabled: no\n" + DEB822.split("\n\n")[0].split("\n", 1)[1]))


def test_a_mirror_list_in_a_file_is_followed(tmp_path: Path) -> None:
    root = host(
        tmp_path, debian_sources=DEB822.replace("http://mirror.example/debian", "mirror+file:///etc/apt/mirrors/debian.list")
    )
    mirrors = root / "etc/apt/mirrors"
    mirrors.mkdir()
    (mirrors / "debian.list").write_text("# cloud\nhttp://cloud.example/debian\tpriority:1\n")
    assert "http://cloud.example/debian" == archives(root)["main"]


def test_a_host_without_a_security_entry_gets_the_sibling(tmp_path: Path) -> None:
    found = archives(host(tmp_path, list="deb http://mirror.example/debian trixie main\n"))
    assert "http://mirror.example/debian-security" == found["security"]


def test_the_mirror_wins_over_the_variable_and_that_over_apt(tmp_path: Path) -> None:
    root = host(tmp_path, debian_sources=DEB822)
    assert "http://b/debian" == archives(root, LAUNCH_DEBIAN_MIRROR="http://b/debian")["main"]
    assert "http://a/debian" == archives(root, mirror="http://a/debian", LAUNCH_DEBIAN_MIRROR="http://b/debian")["main"]


@pytest.mark.parametrize(
    ("mirror", "security"),
    [
        pytest.param("http://a/debian", "http://a/debian-security", id="sibling"),
        pytest.param("http://a/debian/ http://b/security/", "http://b/security", id="named"),
        pytest.param("http://a/debian none", None, id="none"),
        pytest.param("file:/srv/archive", None, id="no sibling is known"),
    ],
)
def test_a_mirror_names_its_security_archive(tmp_path: Path, mirror: str, security: str | None) -> None:
    assert security == archives(tmp_path, mirror=mirror).get("security")


def test_a_mirror_that_is_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"`mirror.example` is no http, https or file address"):
        archives(tmp_path, mirror="mirror.example")


def test_unstable_has_no_updates_and_no_security(tmp_path: Path) -> None:
    assert {"main": "http://a/debian"} == archives(tmp_path, "sid", mirror="http://a/debian")


def test_apt_conf_is_read_in_both_spellings() -> None:
    text = """
    // a comment "with quotes"
    Acquire::http::Proxy "http://one:3128"; // and another
    Acquire { https { Proxy "http://two:3128"; Timeout "9"; }; };
    APT::NeverAutoRemove { "^kernel"; };
    """
    settings = parse_apt_conf(text)
    assert "http://one:3128" == settings["acquire::http::proxy"]
    assert "http://two:3128" == settings["acquire::https::proxy"]


def test_proxies_come_from_the_environment_then_from_apt() -> None:
    settings = {"acquire::http::proxy": "http://apt:1", "acquire::https::proxy": "DIRECT"}
    assert {"http_proxy": "http://apt:1", "https_proxy": "http://apt:1"} == proxy_environ({}, settings)
    own = proxy_environ({"http_proxy": "http://env:1", "no_proxy": "localhost, .example"}, settings)
    assert ("http://env:1", "localhost, .example") == (own["http_proxy"], own["no_proxy"])
    assert {"http_proxy": "all:1", "https_proxy": "all:1"} == proxy_environ({"ALL_PROXY": "all:1"}, settings)
