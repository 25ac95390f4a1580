"""The user's pip settings reach uv, and uv's own settings win over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.spec import Index
from launcher.errors import ConfigError
from launcher.plan.requirements.pip_settings import IndexSettings, index_settings, pip_config_files, read_pip_settings


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A user with an empty home and no settings of the machine's."""
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg"), "UV_NO_CONFIG": "1"}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def settings(environ: dict[str, str], **index: object) -> IndexSettings:
    return index_settings(Index(**index), environ=environ, directory=Path(environ["HOME"]))  # type: ignore[arg-type]


def test_later_files_win_and_variables_win_over_files(tmp_path: Path, environ: dict[str, str]) -> None:
    write(tmp_path / "xdg/pip/pip.conf", "[global]\nindex-url = https://one.test\ntimeout = 5\nretries = 1\n")
    write(tmp_path / ".config/pip/pip.conf", "[global]\nindex_url = https://two.test\ntimeout = 6\n")
    pip = read_pip_settings({**environ, "PIP_TIMEOUT": "7"})
    assert ("https://two.test", "7", "1") == (pip["index-url"], pip["timeout"], pip["retries"])


def test_the_install_section_wins_over_global(tmp_path: Path, environ: dict[str, str]) -> None:
    write(tmp_path / ".config/pip/pip.conf", "[install]\nno-binary = demo\n[global]\nno-binary = other\n[list]\nformat = json\n")
    pip = read_pip_settings(environ)
    assert "demo" == pip["no-binary"]
    assert "format" not in pip


def test_pip_config_file_set_to_devnull_means_no_files(environ: dict[str, str]) -> None:
    assert [] == pip_config_files({**environ, "PIP_CONFIG_FILE": "/dev/null"})


def test_a_damaged_file_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    write(tmp_path / ".config/pip/pip.conf", "no section\n")
    with pytest.raises(ConfigError, match=r"pip/pip\.conf"):
        read_pip_settings(environ)


def test_find_links_and_constraints_of_pip_are_used(environ: dict[str, str]) -> None:
    found = settings(
        {**environ, "PIP_FIND_LINKS": "/opt/wheels /srv/more", "PIP_CONSTRAINT": "/etc/c.txt"}, find_links=("/mine",)
    )
    assert "/mine,/opt/wheels,/srv/more" == found.env["UV_FIND_LINKS"]
    assert ("/etc/c.txt",) == found.constraints
    assert ("/mine", "/opt/wheels", "/srv/more") == found.find_links


def test_addresses_travel_in_the_environment_only(environ: dict[str, str]) -> None:
    """An argument is seen by every user in `ps`."""
    found = settings(
        {**environ, "PIP_INDEX_URL": "https://me:secret@one.test", "PIP_EXTRA_INDEX_URL": "https://me:secret@two.test"}
    )
    assert "https://me:secret@one.test" == found.env["UV_DEFAULT_INDEX"]
    assert "https://me:secret@two.test" == found.env["UV_EXTRA_INDEX_URL"]
    assert "secret" not in " ".join(found.uv_args)
    assert "secret" not in repr(found)


def test_several_indexes_of_pip_are_compared_as_pip_does(environ: dict[str, str]) -> None:
    found = settings({**environ, "PIP_EXTRA_INDEX_URL": "https://two.test"})
    assert "unsafe-best-match" == found.env["UV_INDEX_STRATEGY"]
    assert "UV_INDEX_STRATEGY" not in settings(environ, extra_urls=("https://two.test",)).env


def test_the_experiments_index_wins_over_pip(environ: dict[str, str]) -> None:
    found = settings({**environ, "PIP_INDEX_URL": "https://pip.test"}, url="https://mine.test")
    assert "https://mine.test" == found.env["UV_DEFAULT_INDEX"]


def test_uvs_own_index_wins_over_pip(tmp_path: Path, environ: dict[str, str]) -> None:
    pip = {**environ, "PIP_INDEX_URL": "https://pip.test"}
    assert "UV_DEFAULT_INDEX" not in settings({**pip, "UV_DEFAULT_INDEX": "https://uv.test"}).env
    write(tmp_path / ".config/uv/uv.toml", '[[index]]\nurl = "https://uv.test"\ndefault = true\n')
    del pip["UV_NO_CONFIG"]
    assert "UV_DEFAULT_INDEX" not in settings(pip).env


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("PIP_CERT", "/ca.pem", "SSL_CERT_FILE", "/ca.pem"),
        ("PIP_CLIENT_CERT", "/me.pem", "SSL_CLIENT_CERT", "/me.pem"),
        ("PIP_TRUSTED_HOST", "a.test\nb.test", "UV_INSECURE_HOST", "a.test b.test"),
        ("PIP_DEFAULT_TIMEOUT", "15.0", "UV_HTTP_TIMEOUT", "15"),
        ("PIP_RETRIES", "3", "UV_HTTP_RETRIES", "3"),
        ("PIP_PROXY", "http://proxy.test:3128", "ALL_PROXY", "http://proxy.test:3128"),
    ],
)
def test_transport_is_translated(environ: dict[str, str], variable: str, value: str, name: str, expected: str) -> None:
    assert expected == settings({**environ, variable: value}).env[name]
    assert name not in settings({**environ, variable: value, name: "the user's own"}).env


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("PIP_NO_INDEX", "true", ("--no-index",)),
        ("PIP_NO_INDEX", "0", ()),
        ("PIP_PRE", "1", ("--prerelease", "allow")),
        ("PIP_ONLY_BINARY", "a,b", ("--only-binary", "a", "--only-binary", "b")),
    ],
)
def test_selection_is_translated(environ: dict[str, str], variable: str, value: str, words: tuple[str, ...]) -> None:
    assert words == settings({**environ, variable: value}).uv_args


def test_options_inside_a_requirements_file_count(environ: dict[str, str]) -> None:
    options = [("extra-index-url", "https://torch.test"), ("find-links", "/w"), ("no-index", ""), ("no-index", "")]
    found = index_settings(Index(), environ=environ, file_options=options, directory=Path("/"))
    assert ("https://torch.test", "/w") == (found.env["UV_EXTRA_INDEX_URL"], found.env["UV_FIND_LINKS"])
    assert ("--no-index",) == found.uv_args
