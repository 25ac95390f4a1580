"""The user's pip settings, said to uv.

uv reads its own settings and not pip's, so a machine set up for pip (mirror, find-links, CA bundle, constraints) would be
ignored. Files and order are pip's ("Configuration", "Location": global, user, site, PIP_CONFIG_FILE, then PIP_* variables).
uv's own settings win over pip's, and the experiment's `image.index` over both. netrc and proxies need no translation.
Addresses may hold passwords: they travel in the environment, never in arguments that `ps` shows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher.config.spec import Index
from launcher.errors import ConfigError
from runtime.light_dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where uv looks for packages, as arguments and environment."""

    uv_args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict, repr=False)
    constraints: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()


def pip_config_files(environ: Mapping[str, str]) -> list[Path]:
    """Every file that pip would read, first to last; they need not exist."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    shared = [Path(d) / "pip" / "pip.conf" for d in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if d]
    files = [*shared, Path("/etc/pip.conf"), home / ".pip" / "pip.conf", config_home / "pip" / "pip.conf"]
    files.append(Path(sys.prefix) / "pip.conf")
    if named:
        files.append(Path(named).expanduser())
    return files


def uv_config_files(environ: Mapping[str, str], directory: Path) -> list[Path]:
    """Every file that uv takes settings from when it runs in *directory*; they need not exist."""
    if environ.get("UV_NO_CONFIG"):
        return []
    if environ.get("UV_CONFIG_FILE"):
        return [Path(environ["UV_CONFIG_FILE"])]
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/xdg/uv/uv.toml"), Path("/etc/uv/uv.toml"), config_home / "uv" / "uv.toml"]
    for parent in (directory, *directory.parents):
        files += [parent / "uv.toml", parent / "pyproject.toml"]
    return files


def read_pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Option → value as `pip install` would see it: [install] over [global], later files over earlier, PIP_* over all."""
    from configparser import Error, RawConfigParser

    values: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for file in pip_config_files(environ):
        parser = RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (Error, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read pip's settings in `{file}`: {error}") from error
        for section, options in values.items():
            if parser.has_section(section):
                options.update({name.lower().replace("_", "-"): value for name, value in parser.items(section) if value})
    settings = values["global"] | values["install"]
    for name, value in environ.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            settings[name[4:].lower().replace("_", "-")] = value
    return settings


def index_settings(
    index: Index, *, environ: Mapping[str, str], file_options: Iterable[tuple[str, str]] = (), directory: Path | None = None
) -> IndexSettings:
    """Everything that decides where packages come from: *index*, the options inside requirements files (*file_options*),
    uv's settings (which uv adds itself) and pip's."""
    pip = read_pip_settings(environ)
    env = dict(_transport(pip, environ))
    args = list(_selection(pip, environ))
    find_links = [*index.find_links, *pip.get("find-links", "").split()]
    extra = list(index.extra_urls)
    default = index.url
    for option, value in file_options:
        if option == "find-links":
            find_links.append(value)
        elif option == "extra-index-url":
            extra.append(value)
        elif option == "index-url":
            default = default or value
        elif option == "no-index" and "--no-index" not in args:
            args.append("--no-index")
    if default is None and not _uv_names_default(environ, directory or Path.cwd()):
        default = pip.get("index-url")
    from_pip = pip.get("extra-index-url", "").split()
    if from_pip and "UV_INDEX_STRATEGY" not in environ:
        # pip compares all indexes and takes the best version; uv's default stops at the first index that knows the name,
        # under which a torch index's old numpy would shadow the current one.
        env["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    extra += from_pip
    if default is not None:
        env["UV_DEFAULT_INDEX"] = default
    if extra:
        env["UV_EXTRA_INDEX_URL"] = " ".join([*extra, *environ.get("UV_EXTRA_INDEX_URL", "").split()])
    args += _find_links(find_links, environ, env)
    if index.exclude_newer:
        args += ["--exclude-newer", index.exclude_newer]
    constraints = (*index.constraints, *pip.get("constraint", "").split(), *environ.get("UV_CONSTRAINT", "").split())
    return IndexSettings(tuple(args), env, constraints, tuple(find_links))


def _find_links(find_links: list[str], environ: Mapping[str, str], env: dict[str, str]) -> list[str]:
    """Put *find_links* into *env*; what contains uv's separator has to be an argument."""
    plain = [place for place in find_links if "," not in place]
    if plain:
        env["UV_FIND_LINKS"] = ",".join([*plain, *filter(None, environ.get("UV_FIND_LINKS", "").split(","))])
    return [word for place in find_links if "," in place for word in ("--find-links", place)]


def _transport(pip: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables for how uv talks to an index. One that the user already set for uv stays."""
    wanted = {
        "SSL_CERT_FILE": pip.get("cert"),
        "SSL_CLIENT_CERT": pip.get("client-cert"),
        "UV_INSECURE_HOST": pip.get("trusted-host"),
        "UV_HTTP_TIMEOUT": _whole(pip.get("timeout") or pip.get("default-timeout")),
        "UV_HTTP_RETRIES": _whole(pip.get("retries")),
        "ALL_PROXY": pip.get("proxy"),
        "UV_KEYRING_PROVIDER": "subprocess" if pip.get("keyring-provider") == "subprocess" else None,
    }
    for name, value in wanted.items():
        if value and not environ.get(name):
            yield name, " ".join(value.split())


def _whole(number: str | None) -> str | None:
    """pip takes `15.0` where uv wants whole seconds."""
    if number is None:
        return None
    try:
        return str(max(1, round(float(number))))
    except ValueError:
        return None


def _selection(pip: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[str]:
    """Arguments for which files may be taken."""
    if _truthy(pip.get("no-index")):
        yield "--no-index"
    if _truthy(pip.get("pre")) and "UV_PRERELEASE" not in environ:
        yield from ("--prerelease", "allow")
    for option in ("no-binary", "only-binary"):
        for package in pip.get(option, "").replace(",", " ").split():
            yield from (f"--{option}", package)


def _truthy(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on", "y", "t")


def _uv_names_default(environ: Mapping[str, str], directory: Path) -> bool:
    """Whether uv's own settings replace the default index, so that pip's address is not wanted."""
    if environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL"):
        return True
    import tomllib

    for file in uv_config_files(environ, directory):
        try:
            document: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # a file that uv can't read either is uv's to report
        settings = document.get("tool", {}).get("uv", {}) if file.name == "pyproject.toml" else document
        indexes = settings.get("index", [])
        if settings.get("index-url") or settings.get("pip", {}).get("index-url") or any(i.get("default") for i in indexes):
            return True
    return False
