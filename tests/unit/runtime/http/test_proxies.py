"""Which proxy a request goes through."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from runtime.http.proxies import proxy_for, redact_url, without_user_info

PROXY = {"HTTPS_PROXY": "http://proxy.corp:3128", "http_proxy": "proxy.corp:8080"}


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://quay.example/v2/", "http://proxy.corp:3128"),
        ("http://quay.example/v2/", "http://proxy.corp:8080"),
        ("http://localhost:5000/v2/", None),
        ("http://127.0.0.1:5000/v2/", None),
        ("http://[::1]:5000/v2/", None),
    ],
)
def test_the_proxy_is_that_of_the_scheme_and_never_for_this_machine(url: str, proxy: str | None) -> None:
    assert proxy == proxy_for(urlsplit(url), PROXY)


@pytest.mark.parametrize(
    ("url", "exceptions", "direct"),
    [
        ("https://reg.corp/", "corp", True),
        ("https://reg.corp/", ".corp", True),
        ("https://reg.corp/", "*.corp", True),
        ("https://regcorp/", "corp", False),
        ("https://10.1.2.3/", "10.0.0.0/8", True),
        ("https://11.1.2.3/", "10.0.0.0/8, 192.168.0.0/16", False),
        ("https://reg.corp:5000/", "reg.corp:5000", True),
        ("https://reg.corp:5001/", "reg.corp:5000", False),
        ("https://anything/", "*", True),
        ("https://[fd00::1]/", "fd00::/8", True),
    ],
)
def test_exceptions_are_domains_addresses_networks_and_ports(url: str, exceptions: str, direct: bool) -> None:
    assert direct == (proxy_for(urlsplit(url), {**PROXY, "no_proxy": exceptions}) is None)


def test_neither_password_nor_signature_is_shown() -> None:
    assert "https://***@store.example/a" == redact_url("https://me:secret@store.example/a?X-Signature=secret")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--index-url https://me:s3cret@lab/simple", "--index-url https://lab/simple"),
        ("git+https://token@host/x@v1", "git+https://host/x@v1"),
        ("http://me:p@ss@lab/ -fhttp://me:s3cret@other/", "http://lab/ -fhttp://other/"),
        ("https://lab/x@y me@lab", "https://lab/x@y me@lab"),
    ],
)
def test_user_and_password_are_taken_out_of_addresses(text: str, shown: str) -> None:
    assert shown == without_user_info(text)
