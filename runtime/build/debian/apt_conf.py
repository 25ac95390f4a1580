"""The few settings of the host's apt that concern us: its proxies (apt.conf(5), apt-transport-http(1)).

Both spellings are read, `Acquire::http::Proxy "…";` and nested `Acquire { http { Proxy "…"; }; };`; `#include` and
auto-detection scripts are not followed: no program of the host is started.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

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


def proxy_environ(environ: Mapping[str, str], apt_settings: Mapping[str, str]) -> dict[str, str]:
    """`http_proxy`, `https_proxy` and `no_proxy` of *environ*, in either case; where it names no proxy, apt's."""

    def named(*names: str) -> str:
        return next((value for name in names if (value := environ.get(name) or environ.get(name.upper()))), "")

    def from_apt(scheme: str) -> str:
        proxy = apt_settings.get(f"acquire::{scheme}::proxy", "")
        return "" if proxy.upper() == "DIRECT" else proxy

    proxies = {
        "http_proxy": named("http_proxy", "all_proxy") or from_apt("http"),
        # apt uses its http proxy for https as well unless told otherwise (apt-transport-https(1)).
        "https_proxy": named("https_proxy", "all_proxy") or from_apt("https") or from_apt("http"),
        "no_proxy": named("no_proxy"),
    }
    return {name: value for name, value in proxies.items() if value}
