"""The whole base, from the archive of this host's apt: built as root and as an ordinary user, judged by dpkg and apt inside."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from runtime import light_dataclasses
from runtime.build.builder import BuildResult, build
from runtime.build.debian.apt_sources import debian_source
from runtime.build.debian.debian_base import BASE_PACKAGES, CONFIGURE, interpreter_of
from runtime.build.debian.locked_debs import resolve_base
from runtime.build.observer import NullObserver
from runtime.build.plan import BuildPlan, DebPackage, ImageConfig, RunCommand, Step, UnpackDebs
from runtime.build.sources import BuildSources, DebianSource
from runtime.errors import BuildError
from runtime.store.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "proc")

SUITES = ("trixie", "bookworm")
JUDGE = """
dpkg --audit
test -z "$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | grep -v '^ii')"
apt-get check -qq
apt-get --version | head -1
python3 -c 'import ssl, sqlite3, ctypes, lzma; assert ssl.create_default_context().get_ca_certs()'
python3 -c 'import sys; print(sys.version.split()[0])'
stat -c '%a %u:%g %n' /etc/shadow /usr/bin/chage
"""


class Heard(NullObserver):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: set[Step] = set()

    def output(self, step: Step, line: str) -> None:
        self.lines.append(line)
        self.steps.add(step)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Shared by the tests of this file: the debs are fetched once. Open to the ordinary user."""
    directory = Path(tempfile.mkdtemp(prefix="launch-debian-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def source_of(suite: str, home: Path) -> DebianSource:
    try:
        return debian_source(suite, mirror=None, environ=os.environ, cache_dir=home / "cache")
    except BuildError as error:
        pytest.skip(f"no Debian archive on this machine: {error.message}")


def plan_of(suite: str, packages: Sequence[DebPackage], *more: Step) -> BuildPlan:
    return BuildPlan((UnpackDebs(suite, tuple(packages)), CONFIGURE, *more), ImageConfig())


def built(plan: BuildPlan, home: Path, source: DebianSource, observer: Heard | None = None) -> BuildResult:
    return build(plan, Store(home / "store").ensure(), sources=BuildSources(debian=lambda: source), observer=observer)


@pytest.mark.parametrize("suite", SUITES)
def test_the_base_is_complete_by_the_word_of_its_own_dpkg_and_apt(home: Path, suite: str) -> None:
    source = source_of(suite, home)
    packages = resolve_base(suite, BASE_PACKAGES, source=source)
    heard = Heard()
    built(plan_of(suite, packages, RunCommand(("sh", "-ec", JUDGE), label="judge")), home, source, heard)
    said = heard.lines[-4:]
    assert said[0].startswith("apt ")
    assert interpreter_of(packages).version == said[1]
    assert ["640 0:42 /etc/shadow", "2755 0:42 /usr/bin/chage"] == said[2:]


@pytest.mark.requires("patience")
def test_two_builds_are_one_image(home: Path, tmp_path: Path) -> None:
    source = source_of("trixie", home)
    plan = plan_of("trixie", resolve_base("trixie", source=source))
    first = built(plan, home, source)
    shutil.copytree(home / "store/blobs", tmp_path / "store/blobs")
    second = built(plan, tmp_path, source)
    assert [step.layer.diff_id for step in first.steps] == [step.layer.diff_id for step in second.steps]
    assert not second.cached


@pytest.mark.requires("ordinary-user", "overlay-userns")
@pytest.mark.requires("patience")
def test_an_ordinary_user_builds_the_same_image_as_root(home: Path) -> None:
    """Owners that one id cannot set are in the manifest, so the digests agree. In bookworm apt's script adds an account."""
    suite = "bookworm"
    python = shutil.which("python3", path="/usr/bin")
    if (
        python is None
        or subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False).returncode
    ):
        pytest.skip("no interpreter that another user can start")
    source = source_of(suite, home)
    packages = resolve_base(suite, BASE_PACKAGES, source=source)
    by_root = built(plan_of(suite, packages), home, source)
    user = pwd.getpwnam("launchtest")
    theirs = home / f"ordinary-{suite}"
    shutil.copytree(home / "store/blobs", theirs / "store/blobs")
    subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", str(theirs)], check=True)
    code = f"""
import json, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from runtime.build.builder import build
from runtime.build.debian.debian_base import CONFIGURE
from runtime.build.plan import BuildPlan, DebPackage, ImageConfig, UnpackDebs
from runtime.build.sources import BuildSources, DebianSource
from runtime.store.store import Store
given = json.load(sys.stdin)
packages = tuple(DebPackage(**one) for one in given["packages"])
plan = BuildPlan((UnpackDebs({suite!r}, packages), CONFIGURE), ImageConfig())
source = DebianSource(given["archives"], Path("cache"))
result = build(plan, Store(Path("store").absolute()).ensure(), sources=BuildSources(debian=lambda: source))
print(result.image.digest)
"""
    done = subprocess.run(
        ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", python, "-B", "-c", code],
        input=json.dumps({"packages": [light_dataclasses.asdict(one) for one in packages], "archives": source.archives}),
        cwd=theirs,
        env={"PATH": os.environ["PATH"], "HOME": str(theirs), "LAUNCH_HOME": str(theirs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert 0 == done.returncode, done.stderr
    assert by_root.image.digest == done.stdout.strip()


@pytest.mark.requires("patience")
def test_packages_come_onto_the_base_through_its_own_dpkg(home: Path) -> None:
    """`cron` has a preinst, a setgid program, and a group that its preinst makes."""
    source = source_of("trixie", home)
    base = resolve_base("trixie", source=source)
    added = resolve_base("trixie", ["cron", "netcat-openbsd"], source=source, already=base)
    assert "netcat-openbsd" in {one.name for one in added}
    assert not {one.name for one in added} & {one.name for one in base}
    judge = "dpkg --audit; nc -h 2>&1 | head -1; test -x /usr/bin/crontab; readlink -e /usr/bin/nc"
    more = (UnpackDebs("trixie", added, onto_base=True), CONFIGURE, RunCommand(("sh", "-ec", judge), label="judge"))
    heard = Heard()
    plan = plan_of("trixie", base, *more)
    built(plan, home, source, heard)
    assert heard.steps <= set(plan.steps)  # by which a build's job names what it tells of
    assert heard.lines[-2].startswith("OpenBSD netcat")
    assert "/usr/bin/nc.openbsd" == heard.lines[-1]


@pytest.mark.requires("patience")
def test_apt_installs_more_while_a_networked_step_runs_and_the_address_stays_out_of_the_image(home: Path) -> None:
    source = source_of("trixie", home)
    if any(url.startswith("file:") for url in source.archives.values()):
        pytest.skip("the archive is a directory of this host")
    install = "apt-get update -qq && apt-get install -y -qq tree && tree --version"
    command = RunCommand(
        ("sh", "-ec", install), network="host", label="install tree", drop=("var/cache/**", "var/lib/apt/lists/**")
    )
    heard = Heard()
    result = built(plan_of("trixie", resolve_base("trixie", source=source), command), home, source, heard)
    assert heard.lines[-1].startswith("tree v")
    store = Store(home / "store")
    host = source.archives["main"].split("/")[2].encode()
    for layer in result.image.layers:
        for directory, _, names in os.walk(store.layer_dir(layer) / "etc/apt"):
            assert not [name for name in names if host in Path(directory, name).read_bytes()]
