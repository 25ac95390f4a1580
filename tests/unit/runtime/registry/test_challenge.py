"""`WWW-Authenticate` as registries write it."""

from __future__ import annotations

import pytest

from runtime.registry.auth import Challenge, choose_challenge, parse_challenges

BEARER = {"realm": "https://auth.lab/token", "service": "lab", "scope": "repository:a/b:pull,push"}


@pytest.mark.parametrize(
    "header",
    [
        pytest.param('Bearer realm="https://auth.lab/token",service="lab",scope="repository:a/b:pull,push"', id="as usual"),
        pytest.param(
            'bearer REALM="https://auth.lab/token", Service=lab , scope="repository:a/b:pull,push"', id="case and spaces"
        ),
        pytest.param('Bearer realm = "https://auth.lab/token",service = "lab",scope="repository:a/b:pull,push"', id="around ="),
    ],
)
def test_a_token_challenge_is_read(header: str) -> None:
    assert (Challenge("bearer", BEARER),) == parse_challenges([header])


def test_several_challenges_in_one_header_are_told_apart() -> None:
    found = parse_challenges(['Negotiate, Basic realm="a \\"quoted\\", name", Bearer realm="https://x/t",service="s"'])
    assert ["negotiate", "basic", "bearer"] == [challenge.scheme for challenge in found]
    assert 'a "quoted", name' == found[1].realm
    assert "s" == found[2].service


def test_a_token_is_preferred_to_a_password() -> None:
    chosen = choose_challenge(parse_challenges(['Basic realm="x"', 'Bearer realm="https://x/t"']))
    assert chosen is not None
    assert "bearer" == chosen.scheme


def test_a_bearer_challenge_without_a_realm_cannot_be_answered() -> None:
    chosen = choose_challenge(parse_challenges(['Bearer service="x"', 'Basic realm="x"']))
    assert chosen is not None
    assert "basic" == chosen.scheme
    assert choose_challenge(parse_challenges(['Bearer error="insufficient_scope"'])) is None


@pytest.mark.parametrize("header", ["", "Negotiate YIIabc==", ",,,", '"', "Basic", "Digest qop=auth, nonce=1"])
def test_what_is_no_challenge_that_we_know_is_passed_over(header: str) -> None:
    chosen = choose_challenge(parse_challenges([header]))
    assert chosen is None or chosen.scheme == "basic"


def test_a_challenge_that_never_ends_is_read_in_no_time() -> None:
    parse_challenges(["Basic " + "a=b," * 20_000, "x " * 20_000, 'Basic realm="' + "\\" * 60_000])
