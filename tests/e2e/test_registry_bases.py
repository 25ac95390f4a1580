"""Bases from a registry with a password: logged in once, pulled once, launched without asking anybody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_command import Launch
from registry_server import RegistryServer, registry_server

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns", "docker-registry", "htpasswd")]

# Packages that a base brings, as pytorch's images do: installed for its Python, and in a virtual environment.
SYSTEM = """\
FROM bootstrap:debian/trixie
RUN echo 'WHERE = "system"' > /usr/lib/python3/dist-packages/torchlike.py
ENV FROM_BASE=yes
"""
VENV = """\
FROM bootstrap:debian/trixie
RUN python3 -m venv --without-pip /srv/env && \\
    echo 'WHERE = "venv"' > /srv/env/lib/python3.13/site-packages/torchlike.py
ENV PATH=/srv/env/bin:$PATH
"""
EXPERIMENT = """\
# @package _global_
image: {{base: "{base}", requirements: {requirements}}}
code: {{root: experiments/probe}}
command: [python3, -c, "import torchlike, os; print(torchlike.WHERE, os.environ.get('FROM_BASE'))"]
tracking: null
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    with registry_server(tmp_path / "registry", login=("ci", "s3cret")) as running:
        yield running


@pytest.fixture
def logged_in(launch: Launch, server: RegistryServer, tmp_path: Path) -> Launch:
    """The session's launch, as a user of its own who is logged in."""
    launch.environ = {"DOCKER_CONFIG": str(tmp_path / "docker"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    login(launch, server, "s3cret")
    return launch


def login(launch: Launch, server: RegistryServer, password: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        launch.argv("login", server.address, "-u", "ci", "--password-stdin"),
        input=f"{password}\n",
        env=launch.env(),
        cwd=launch.project,
        capture_output=True,
        text=True,
        check=False,
    )


def push_base(launch: Launch, server: RegistryServer, name: str, dockerfile: str, directory: Path) -> str:
    """An image in the registry. Returns its reference."""
    context = directory / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(dockerfile)
    launch("build", "-q", "-t", "base-of-tests", str(context))
    launch("push", "-q", "base-of-tests", f"{server.address}/{name}")
    return f"{server.address}/{name}"


def elsewhere(launch: Launch, directory: Path, **experiments: str) -> Launch:
    """A project of its own, with an empty store."""
    shutil.copytree(launch.project, directory / "project")
    for name, text in experiments.items():
        (directory / "project/conf/experiment" / f"{name}.yaml").write_text(text)
    return Launch(directory / "home", directory / "project", dict(launch.environ))


def test_a_login_is_checked_kept_and_shared_with_others(launch: Launch, server: RegistryServer, tmp_path: Path) -> None:
    launch.environ = {"DOCKER_CONFIG": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    refused = launch("pull", f"{server.address}/lab/none:v1", check=125)
    assert f"`launch login {server.address}`" in refused.stderr
    wrong = login(launch, server, "wrong")
    assert (125, "") == (wrong.returncode, wrong.stdout)
    assert "the login is refused to user `ci`" in wrong.stderr
    assert not (tmp_path / "config.json").exists()
    assert 0 == login(launch, server, "s3cret").returncode
    assert [server.address] == list(json.loads((tmp_path / "config.json").read_text())["auths"])
    assert 0o600 == (tmp_path / "config.json").stat().st_mode & 0o777
    missing = launch("pull", f"{server.address}/lab/none:v1", check=2)
    assert "is not found" in missing.stderr
    typed = launch("login", server.address, "-u", "ci", "-p", "s3cret", check=2).stderr
    assert ("`--password-stdin < FILE`" in typed, "s3cret" in typed) == (True, False)
    launch("logout", server.address)
    assert {} == json.loads((tmp_path / "config.json").read_text())["auths"]


@pytest.mark.requires("skopeo")
def test_skopeo_uses_our_login(logged_in: Launch, server: RegistryServer, tmp_path: Path) -> None:
    name = push_base(logged_in, server, "lab/shared:v1", SYSTEM, tmp_path)
    env = {**os.environ, **logged_in.environ}
    argv = ["skopeo", "inspect", "--tls-verify=false", f"docker://{name}"]
    seen = json.loads(subprocess.run(argv, env=env, capture_output=True, check=True).stdout)
    pulled = logged_in("pull", name)
    assert (f"{name}@{seen['Digest']}\n", 0) == (pulled.stdout, pulled.stderr.count("sha256:")), "one digest, the registry's"
    image = json.loads(logged_in("images", "show", name, "--json").stdout)
    assert [(name, seen["Digest"])] == [(each["reference"], each["manifest_digest"]) for each in image["pulled"]]
    shown = logged_in("images", "show", name).stdout
    assert shown.startswith(f"{image['image_digest']}  in this store\n")
    assert f"  pulled      {name}@{seen['Digest']}\n" in shown


@pytest.mark.parametrize(("dockerfile", "said"), [(SYSTEM, "system yes"), (VENV, "venv None")], ids=["system", "venv"])
def test_what_the_base_has_installed_can_be_imported(
    logged_in: Launch, server: RegistryServer, tmp_path: Path, dockerfile: str, said: str
) -> None:
    """Alone, where no virtual environment is made, and beside requirements."""
    base = push_base(logged_in, server, f"lab/{said.split()[0]}:v1", dockerfile, tmp_path)
    alone = EXPERIMENT.format(base=base, requirements="[]")
    beside = EXPERIMENT.format(base=base, requirements="[humanize]")
    launch = elsewhere(logged_in, tmp_path, alone=alone, beside=beside)
    assert said == launch("experiment=alone").stdout.strip()
    assert said == launch("experiment=beside").stdout.strip()
    both = ("python3", "-c", "import humanize, torchlike; print(humanize.__name__, torchlike.WHERE)")
    assert f"humanize {said.split()[0]}" == launch("experiment=beside", "--", *both).stdout.strip()


def test_an_unchanged_launch_asks_no_registry_and_pull_asks_again(
    logged_in: Launch, server: RegistryServer, tmp_path: Path
) -> None:
    base = push_base(logged_in, server, "lab/moving:v1", SYSTEM, tmp_path)
    launch = elsewhere(logged_in, tmp_path, moving=EXPERIMENT.format(base=base, requirements="[]"))
    before = launch("pull", "-q", base).stdout.strip()
    assert "system yes" in launch("experiment=moving").stdout
    launch("lock", "experiment=moving")
    lock = (launch.project / "conf/experiment/moving.base.lock").read_text()
    assert before == lock.splitlines()[-1]

    push_base(logged_in, server, "lab/moving:v1", SYSTEM.replace("system", "moved"), tmp_path)
    server.stop()
    try:
        assert "system yes" in launch("experiment=moving").stdout
    finally:
        server.start()
    (after,) = json.loads(launch("pull", "--json", base).stdout)
    assert before != f"{after['reference']}@{after['manifest_digest']}"
    assert launch("images", "show", after["image_digest"])
    assert "system yes" in launch("experiment=moving").stdout  # locked
    launch("lock", "experiment=moving", "--upgrade")
    assert "moved yes" in launch("experiment=moving").stdout


def test_a_registry_that_is_gone_is_told_in_one_sentence(launch: Launch, tmp_path: Path) -> None:
    told = launch("pull", "127.0.0.1:1/lab/x:v1", check=125)
    assert "error: registry `127.0.0.1:1` refuses connections\n" in told.stderr
    assert "Traceback" not in told.stderr
