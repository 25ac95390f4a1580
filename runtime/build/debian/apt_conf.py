"""The few settings of the host's apt that concern us: its proxies (apt.conf(5), apt-transport-http(1)).

Both spellings are read, `Acquire::http::Proxy "…";` and nested `Acquire { http { Proxy "…"; }; };`; `#include` and
auto-detection scripts are not followed: no program of the host is started.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([{};])|([^\s"{};]+)')
_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|/\*.*?\*/|//[^\n]*|^\s*#[^\n]*', re.DOTALL | re.MULTILINE)


def read_apt_conf(root: Path = Path("/")) -> dict[str, str]:
    """Settings by lower-case name (`acquire::http::proxy`), a later file's over an earlier one's."""
    settings: dict[str, str] = {}
    directory = root / "etc/apt/apt.conf.d"
    paths = sorted(directory.glob("*")) if directory.is_dir() else []
    for path in [*paths, root / "etc/apt/apt.conf"]:
        if path.is_file() and re.fullmatch(r"[\w.-]+", path.name) and path.suffix in ("", ".conf"):
            try:
                settings.update(parse_apt_conf(path.read_text(errors="replace")))
            except OSError:
                continue  # a file with a password in it may be root's alone; apt as this user would not see it either
    return settings


def parse_apt_conf(text: str) -> dict[str, str]:
    """Names and values of *text*; lists keep their last value."""
    text = _COMMENT.sub(lambda found: found[1] or " ", text)
    settings: dict[str, str] = {}
    scopes: list[str] = []
    words: list[str] = []
    for quoted, mark, word in _TOKEN.findall(text):
        if mark == "{":
            scopes.append("::".join(words))
            words = []
        elif mark in (";", "}"):
            if len(words) == 2:
                settings["::".join([*scopes, words[0]]).lower()] = words[1]
            if mark == "}" and scopes:
                scopes.pop()
            words = []
        else:
            words.append(word or quoted)
    return settings


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy serves which address. Environment first (as curl and Python do), then apt's settings."""

    http: str | None = None
    https: str | None = None
    none_for: tuple[str, ...] = ()
    """Hosts, or `.domain` suffixes, that are reached directly; `*` is all."""

    def for_url(self, url: str) -> str | None:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        for pattern in self.none_for:
            bare = pattern.lstrip(".")
            if pattern == "*" or host == bare or host.endswith("." + bare):
                return None
        return self.https if parts.scheme == "https" else self.http


def find_proxies(environ: Mapping[str, str], *, apt_settings: Mapping[str, str]) -> Proxies:
    """`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy` in either case, then `Acquire::http(s)::Proxy`."""

    def named(name: str) -> str | None:
        # HTTP_PROXY in capitals is ignored where a CGI request could set it (httpoxy); we are no CGI program.
        return environ.get(name) or environ.get(name.upper()) or None

    def from_apt(scheme: str) -> str | None:
        proxy = apt_settings.get(f"acquire::{scheme}::proxy", "")
        return proxy if proxy and proxy.upper() != "DIRECT" else None

    everything = named("all_proxy")
    no_proxy = named("no_proxy") or ""
    http = named("http_proxy") or everything or from_apt("http")
    return Proxies(
        http=http,
        # apt uses its http proxy for https as well unless told otherwise (apt-transport-https(1)).
        https=named("https_proxy") or everything or from_apt("https") or from_apt("http"),
        none_for=tuple(part.strip().lower().split(":")[0] for part in no_proxy.split(",") if part.strip()),
    )
