"""The options of `docker build`: which command lines mean a Dockerfile, and what their values are."""

from __future__ import annotations

import pytest

from launcher.cli.commands.images import build
from launcher.cli.images import dockerfile_build
from launcher.errors import ConfigError


def parsed(*words):
    return build.parse(words)


@pytest.mark.parametrize(
    "words",
    [["."], ["dir"], ["-t", "x", "."], [".", "-f", "F"], ["--no-cache", "."], ["--target", "x", "a=b"], ["--build-arg=A=1", "."]],
)
def test_a_context_or_an_option_of_docker_build_means_a_dockerfile(words):
    assert dockerfile_build.is_dockerfile_build(parsed(*words))


@pytest.mark.parametrize("words", [["experiment=x"], ["experiment=x", "params.lr=1", "-v"], ["experiment=x", "~params.a"], []])
def test_overrides_mean_an_experiment(words):
    assert not dockerfile_build.is_dockerfile_build(parsed(*words))


def test_the_dockerfile_is_in_the_context_unless_it_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    request = dockerfile_build._request(parsed("sub"))
    assert (request.context, request.dockerfile) == (f"{tmp_path}/sub", f"{tmp_path}/sub/Dockerfile")
    request = dockerfile_build._request(parsed("-f", "docker/F", "sub"))
    assert (request.context, request.dockerfile) == (f"{tmp_path}/sub", f"{tmp_path}/docker/F")


def test_a_build_argument_without_a_value_has_the_environment_s():
    assert dockerfile_build._build_args(["A=1", "B=", "C", "D"], {"C": "c"}) == {"A": "1", "B": "", "C": "c"}


def test_a_secret_comes_from_a_file_or_a_variable(tmp_path):
    (tmp_path / "s").write_text("from file")
    environ = {"id": "by its id", "V": "by name"}
    for text, content in {
        f"id=id,src={tmp_path}/s": b"from file",
        f"id=id,source={tmp_path}/s": b"from file",
        "id=id,env=V": b"by name",
        "type=env,id=id,src=V": b"by name",
        "id=id": b"by its id",
    }.items():
        assert dockerfile_build.read_secret(text, environ) == ("id", content), text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: dockerfile_build.read_secret("src=x", {}), "`--secret src=x` has no `id`", id="no id"),
        pytest.param(lambda: dockerfile_build.read_secret("id=x,dst=y", {}), "`--secret id=x,dst=y` has no `dst`", id="unknown"),
        pytest.param(lambda: dockerfile_build.read_secret("id=x,src=/no/f", {}), "secret `x`: cannot read `/no/f`", id="no file"),
        pytest.param(lambda: dockerfile_build.read_secret("id=x", {}), "secret `x`: there is no variable `x`", id="no variable"),
        pytest.param(lambda: dockerfile_build._build_args(["=x"], {}), "`--build-arg =x` has no name", id="no name"),
        pytest.param(lambda: dockerfile_build._check_name("Upper/Case"), "`-t Upper/Case`", id="capitals"),
        pytest.param(lambda: dockerfile_build._check_name("oci:x"), "`-t oci:x` is no name for an image", id="a transport"),
        pytest.param(lambda: dockerfile_build._request(parsed("-t", "x")), "no context is given", id="no context"),
        pytest.param(lambda: dockerfile_build._request(parsed("a", "b")), "2 contexts are given", id="two contexts"),
        pytest.param(lambda: dockerfile_build._request(parsed("-f", "x", "-")), "the context `-` is a Dockerfile", id="files"),
        pytest.param(
            lambda: dockerfile_build._request(parsed("https://host.lab/x.git")),
            "the context `https://host.lab/x.git` is not supported",
            id="an address",
        ),
    ],
)
def test_what_is_wrong_with_an_option_is_said(make, message):
    with pytest.raises(ConfigError) as refused:
        make()
    assert refused.value.message.startswith(message)
