"""RUN with apt, accounts and bytecode: one layer with any umask, locale, number of cores and file system, whoever builds."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from run_step_as import REPOSITORY, python_for_everybody

from runtime.build.debian.apt_sources import debian_source
from runtime.build.debian.debian_base import BASE_PACKAGES, CONFIGURE
from runtime.build.debian.locked_debs import resolve_base
from runtime.build.plan import BuildPlan, ImageConfig, RunCommand, UnpackDebs
from runtime.build.sources import DebianSource
from runtime.errors import BuildError, Unsupported

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "proc", "ordinary-user", "overlay-userns")

APT = "apt-get update && apt-get install -y --no-install-recommends dbus openssh-server fontconfig fonts-dejavu-core"
ACCOUNT = "useradd -m -G audio web && passwd -d web && mkdir /app && echo 'x = {1, 2, 3}' > /app/module.py && echo b > /tmp/b"
# The interpreter writes bytecode with its source's time, also as another user; what is in /tmp stays for the next step.
BYTECODE = "cat /tmp/b && cp /app/module.py . && python3 -c 'import module' && ln module.py again.py && chgrp -R audio ."

_PROGRAM = """
import json, os, sys
sys.path.insert(0, {repository!r})
from pathlib import Path, PosixPath
from runtime.build.builder import build
from runtime.build.plan import *
from runtime.build.sources import BuildSources, DebianSource
from runtime.store.store import Store

plan, source = eval(Path(sys.argv[2]).read_text())
store = Store(Path(sys.argv[1]) / "store").ensure()
result = build(plan, store, sources=BuildSources(debian=lambda: source))
layers = [
    {{entry.path: repr(entry) for entry in store.tree_of(step.layer)}} if isinstance(step.step, RunCommand) else {{}}
    for step in result.steps
]
print(json.dumps([result.image.digest, layers]))
"""


@pytest.fixture
def source(tmp_path: Path) -> DebianSource:
    try:
        return debian_source("trixie", mirror=None, environ=os.environ, cache_dir=tmp_path / "cache")
    except BuildError as error:
        pytest.skip(f"no Debian archive on this machine: {error.message}")


@pytest.fixture
def places() -> Iterator[dict[str, Path]]:
    """Homes on the disk and in memory: two file systems order directories in two ways."""
    with ExitStack() as held:
        made = {}
        for name, parent in (("root", None), ("odd", "/dev/shm"), ("launchtest", None)):
            made[name] = Path(tempfile.mkdtemp(prefix="launch-repeatable-", dir=parent))
            held.callback(shutil.rmtree, made[name])
        account = pwd.getpwnam("launchtest")
        os.chown(made["launchtest"], account.pw_uid, account.pw_gid)
        yield made


def built(
    home: Path,
    plan: str,
    *,
    user: str = "root",
    before: Sequence[str] = (),
    umask: int = 0o022,
    env: Mapping[str, str] | None = None,
) -> Any:
    """Digest and RUN layers of *plan*, built below *home* by a process with that surrounding."""
    account = pwd.getpwnam(user)
    (home / "plan").write_text(plan)
    (home / "plan").chmod(0o644)
    python = sys.executable if user == "root" else python_for_everybody()
    done = subprocess.run(
        [*before, python, "-c", _PROGRAM.format(repository=str(REPOSITORY)), str(home), str(home / "plan")],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        umask=umask,
        cwd=home,
        env={"HOME": str(home), "PATH": os.environ["PATH"], **(env or {})},
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.requires("patience")
def test_apt_accounts_and_bytecode_make_one_image_whoever_builds_and_however(
    source: DebianSource, places: dict[str, Path]
) -> None:
    try:
        packages = resolve_base("trixie", BASE_PACKAGES, source=source)
    except Unsupported as error:
        pytest.skip(error.message)
    commands = (
        RunCommand(("/bin/sh", "-ec", APT), network="host"),
        RunCommand(("/bin/sh", "-ec", ACCOUNT)),
        RunCommand(("/bin/sh", "-ec", BYTECODE), user="web", cwd="/home/web"),
    )
    plan = repr((BuildPlan((UnpackDebs("trixie", packages), CONFIGURE, *commands), ImageConfig()), source))

    digest, layers = built(places["root"], plan)
    odd = {"TZ": "Asia/Tokyo", "LC_ALL": "de_DE.UTF-8", "SOURCE_DATE_EPOCH": "12345", "PYTHONHASHSEED": "7", "LANG": "C"}
    of_odd = built(places["odd"], plan, before=("taskset", "-c", "0"), umask=0o077, env=odd)
    of_user = built(places["launchtest"], plan, user="launchtest", before=("taskset", "-c", "1" if os.cpu_count() != 1 else "0"))

    for other_digest, other_layers in (of_odd, of_user):
        for one, other in zip(layers, other_layers, strict=True):
            assert {path for path in {*one, *other} if one.get(path) != other.get(path)} == set()
        assert digest == other_digest
    of_apt, of_account, of_bytecode = layers[-3:]
    assert "var/lib/apt/lists" in of_apt
    assert not {"etc/machine-id", "etc/ssh/ssh_host_rsa_key", "var/log/dpkg.log", "var/cache/apt/pkgcache.bin"} & set(of_apt)
    assert {"tmp/b", "app/module.py", "etc/shadow"} <= set(of_account)
    assert any(path.startswith("home/web/__pycache__/module.") for path in of_bytecode)
