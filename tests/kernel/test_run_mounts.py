"""RUN with a user, a working directory, an input and mounts: what the command sees, and that none of it is in the layer.

Each as root, and as an ordinary user with a single id: the layers are the same.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from run_step_as import run_step_as

from runtime.build.plan import RunCommand, RunMount

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "proc")

BOTH = pytest.mark.parametrize(
    "builder",
    [
        pytest.param("root"),
        pytest.param("launchtest", marks=pytest.mark.requires("ordinary-user", "overlay-userns")),
    ],
    indirect=True,
)


@dataclass
class Builder:
    """Runs build steps in a process of its user."""

    home: Path
    user: str
    secrets: dict[str, bytes] = field(default_factory=dict)
    cache_mounts: Path | None = None
    stage: Sequence[dict[str, str]] = ()

    def run(self, step: RunCommand, **more: str) -> dict[str, Any]:
        """As `run_step_as`."""
        caches = None if self.cache_mounts is None else str(self.cache_mounts)
        return run_step_as(self.user, str(self.home), step, secrets=self.secrets, caches=caches, stage=self.stage, **more)


@contextmanager
def home_of(user: str) -> Iterator[Path]:
    """A directory of the user's, and one that it can reach (pytest's are root's)."""
    home = Path(tempfile.mkdtemp(prefix="launch-run-mounts-"))
    account = pwd.getpwnam(user)
    os.chown(home, account.pw_uid, account.pw_gid)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@pytest.fixture
def builder(request: pytest.FixtureRequest) -> Iterator[Builder]:
    with home_of(request.param) as home:
        yield Builder(home, request.param)


def shell(script: str, **more: Any) -> RunCommand:
    return RunCommand(("sh", "-ec", script), label="script", **more)


# User, working directory, input


@BOTH
def test_a_command_runs_as_its_user_and_new_files_are_that_users(builder: Builder) -> None:
    result = builder.run(shell("id -u; id -g; echo $HOME; umask; echo x > /srv/web/mine; cat /etc/old/a", user="web"))
    assert ["33", "44", "/srv/web"] == result["said"][:3]
    assert {"srv/web": ["dir", 0o755, 33, 44], "srv/web/mine": ["file", 0o644, 33, 44]} == {
        path: entry for path, entry in result["entries"].items() if path != "srv"
    }


@pytest.mark.parametrize("builder", ["root"], indirect=True)
def test_a_user_has_the_further_groups_of_the_image(builder: Builder) -> None:
    assert ["44 50"] == builder.run(shell("id -G", user="web"))["said"]
    assert ["50"] == builder.run(shell("id -G", user="web:staff"))["said"]
    assert ["0"] == builder.run(shell("id -G", user="1234"))["said"]


@BOTH
def test_a_user_that_the_image_does_not_have_is_named(builder: Builder) -> None:
    assert "the image has no user `nobody`" == builder.run(shell("true", user="nobody"))["error"]


@BOTH
def test_a_working_directory_is_made_and_stays_only_with_something_in_it(builder: Builder) -> None:
    made = builder.run(shell("echo $PWD > here", cwd="/new/place"))
    assert {"new", "new/place", "new/place/here"} == set(made["entries"])
    assert {} == builder.run(shell("test $PWD = /new/place", cwd="/new/place"))["entries"]


@pytest.mark.parametrize("builder", ["root"], indirect=True)
def test_a_command_runs_in_a_working_directory_that_its_user_cannot_enter(builder: Builder) -> None:
    """As in Docker: who starts the command enters it, and gives the user up after that."""
    result = builder.run(shell("echo $PWD; ls 2> /dev/null || echo closed", user="web", cwd="/root/closed"))
    assert ["/root/closed", "closed"] == result.get("said"), result


@BOTH
def test_a_command_reads_its_here_document(builder: Builder) -> None:
    result = builder.run(RunCommand(("cat",), stdin="first\nsecond ÄÖ\n"))
    assert ["first", "second ÄÖ"] == result["said"]
    assert ["end"] == builder.run(shell("cat; echo end"))["said"], "without one there is nothing to read"


# bind


def context_mount(home: Path, **more: Any) -> RunMount:
    context = home / "context"
    (context / "sub").mkdir(parents=True, exist_ok=True)
    files = []
    for name, mode in (("run.sh", 0o755), ("sub/data", 0o644)):
        (context / name).write_text(name)
        files.append((name, mode, hashlib.sha256(name.encode()).hexdigest()))
    (context / "ignored").write_text("not part of the plan")
    return RunMount("bind", more.pop("target", "/src"), context=str(context), files=tuple(files), **more)


@BOTH
def test_a_bound_context_shows_what_was_planned_read_only_and_leaves_nothing(builder: Builder) -> None:
    mount = context_mount(builder.home)
    script = "cat /src/sub/data; test -x /src/run.sh; test ! -e /src/ignored; ! touch /src/new 2>&-; stat -c %u:%g:%a /src/run.sh"
    result = builder.run(shell(script, mounts=(mount,)))
    assert ["sub/data", "0:0:755"] == "".join(result["said"]).replace("data0", "data\n0").splitlines()
    assert {} == result["entries"]


@BOTH
def test_writes_to_a_bound_context_are_thrown_away(builder: Builder) -> None:
    mount = context_mount(builder.home, readonly=False)
    result = builder.run(shell("echo new > /src/new; echo changed > /src/run.sh; cat /src/new > /kept", mounts=(mount,)))
    assert {"kept"} == set(result["entries"])
    assert ("run.sh", False) == ((builder.home / "context" / "run.sh").read_text(), (builder.home / "context" / "new").exists())


@BOTH
def test_a_part_of_the_context_can_be_bound(builder: Builder) -> None:
    directory = context_mount(builder.home, source="sub", target="/etc/old")
    file = context_mount(builder.home, source="run.sh", target="/some/deep/file")
    result = builder.run(shell("cat /etc/old/data /some/deep/file; test ! -e /etc/old/a", mounts=(directory, file)))
    assert ["sub/datarun.sh"] == result["said"]
    assert {} == result["entries"]


@BOTH
def test_a_context_that_changed_is_an_error(builder: Builder) -> None:
    mount = context_mount(builder.home)
    (builder.home / "context" / "run.sh").write_text("another")
    assert "changed while the image was built" in builder.run(shell("true", mounts=(mount,)))["error"]
    missing = context_mount(builder.home, source="none")
    assert "the context has no `none`" in builder.run(shell("true", mounts=(missing,)))["error"]


STAGE = ({"out/tool": "tool", "latest": "->/out"}, {"out/more": "more"})


@BOTH
def test_another_stage_can_be_mounted_whole_or_in_parts(builder: Builder) -> None:
    builder.stage = STAGE
    mounts = (
        RunMount("bind", "/whole", stage=0),
        RunMount("bind", "/part", source="/latest", stage=0),
        RunMount("bind", "/one", source="out/tool", stage=0),
    )
    result = builder.run(shell("cat /whole/out/more /part/tool /one; echo; ! touch /part/new 2>&-", mounts=mounts))
    assert ["moretooltool"] == result["said"]
    assert {} == result["entries"]


@BOTH
def test_writes_to_another_stage_are_thrown_away(builder: Builder) -> None:
    builder.stage = STAGE
    mount = RunMount("bind", "/mnt", stage=0, readonly=False)
    first = builder.run(shell("echo x > /mnt/out/new; rm /mnt/out/tool; cat /mnt/out/new > /kept", mounts=(mount,)))
    assert {"kept"} == set(first["entries"])
    assert ["tool"] == builder.run(shell("cat /mnt/out/tool; test ! -e /mnt/out/new", mounts=(mount,)))["said"]


@pytest.mark.parametrize("builder", ["root"], indirect=True)
def test_a_part_that_the_stage_does_not_have_is_named(builder: Builder) -> None:
    builder.stage = STAGE
    result = builder.run(shell("true", mounts=(RunMount("bind", "/mnt", source="none", stage=0),)))
    assert "cannot mount `none` of another stage at `/mnt`: No such file or directory" == result["error"]


@pytest.mark.parametrize("builder", ["root"], indirect=True)
def test_a_stage_with_the_same_files_does_not_run_the_command_again(builder: Builder) -> None:
    builder.stage = STAGE
    step = shell("echo ran; cat /mnt/out/tool > /t", mounts=(RunMount("bind", "/mnt", stage=0),))
    first, second = builder.run(step, stage_name="made so"), builder.run(step, stage_name="made otherwise")
    assert (["ran"], []) == (first["said"], second["said"])
    assert (first["digest"], True) == (second["digest"], first["key"] != second["key"])


# cache


@BOTH
def test_a_cache_outlives_the_build_and_is_in_no_layer(builder: Builder) -> None:
    builder.cache_mounts = builder.home / "caches"
    mount = RunMount("cache", "/root/.cache/pip", cache_id="pip", readonly=False)
    first = builder.run(shell("test ! -e /root/.cache/pip/x; echo 1 > /root/.cache/pip/x", mounts=(mount,)))
    second = builder.run(shell("cat /root/.cache/pip/x", mounts=(mount,)))
    other = builder.run(shell("test ! -e /c/x", mounts=(RunMount("cache", "/c", cache_id="other", readonly=False),)))
    assert ({}, ["1"], {}, {}) == (first["entries"], second["said"], second["entries"], other["entries"])


@BOTH
def test_without_a_directory_for_caches_each_build_has_an_empty_one(builder: Builder) -> None:
    mount = RunMount("cache", "/c", cache_id="x", readonly=False)
    for _ in range(2):
        assert {} == builder.run(shell("test ! -e /c/x; echo 1 > /c/x", mounts=(mount,)))["entries"]


@BOTH
def test_a_cache_has_the_owner_and_mode_it_asks_for(builder: Builder) -> None:
    builder.cache_mounts = builder.home / "caches"
    mount = RunMount("cache", "/c", cache_id="web", readonly=False, mode=0o700, uid=33, gid=44)
    result = builder.run(shell("stat -c %u:%g:%a /c; echo 1 > /c/x", mounts=(mount,), user="web"))
    assert ["33:44:700"] == result["said"]


@BOTH
def test_a_cache_may_lie_in_another_and_so_may_a_tmpfs(builder: Builder) -> None:
    builder.cache_mounts = builder.home / "caches"
    outer = RunMount("cache", "/c", cache_id="outer", readonly=False)
    inner = RunMount("cache", "/c/pip/http", cache_id="inner", readonly=False)
    mounts = (outer, inner, RunMount("tmpfs", "/c/tmp", readonly=False))
    first = builder.run(shell("echo 1 > /c/pip/http/x; echo 2 > /c/tmp/x; echo 3 > /c/x", mounts=mounts))
    second = builder.run(shell("cat /c/pip/http/x /c/x; ls /c/tmp", mounts=mounts))
    assert ({}, ["13"]) == (first["entries"], ["".join("".join(second["said"]).split())])


@BOTH
def test_a_tmpfs_at_dev_shm_is_the_containers_own_of_that_size(builder: Builder) -> None:
    mount = RunMount("tmpfs", "/dev/shm", size_bytes=1 << 20, readonly=False)
    (line,) = [line for line in builder.run(shell("cat /proc/mounts", mounts=(mount,)))["said"] if " /dev/shm " in line]
    assert "size=1024k" in line


@pytest.mark.parametrize("builder", ["root"], indirect=True)
def test_a_cache_begins_with_what_a_stage_holds(builder: Builder) -> None:
    builder.cache_mounts = builder.home / "caches"
    builder.stage = STAGE
    mount = RunMount("cache", "/c", cache_id="seeded", stage=0, source="out", readonly=False)
    assert ["moretool"] == builder.run(shell("cat /c/more /c/tool; rm /c/tool", mounts=(mount,)))["said"]
    assert {} == builder.run(shell("test ! -e /c/tool", mounts=(mount,)))["entries"]


@pytest.mark.parametrize("builder", ["root"], indirect=True)
@pytest.mark.parametrize(("sharing", "meets"), [("locked", False), ("private", False), ("shared", True)])
def test_sharing_says_who_may_use_a_cache_at_a_time(builder: Builder, sharing: Any, meets: bool) -> None:
    builder.cache_mounts = builder.home / "caches"
    mount = RunMount("cache", "/c", cache_id="one", sharing=sharing, readonly=False)
    builder.run(shell("true"))  # the base is there for all
    script = "test ! -e /c/busy || echo met; touch /c/busy; sleep 1; rm -f /c/busy; : {}"
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda number: builder.run(shell(script.format(number), mounts=(mount,))), range(3)))
    assert meets == any("met" in result["said"] for result in results)


# secret


@BOTH
def test_a_secret_is_seen_and_is_nowhere_else(builder: Builder) -> None:
    builder.secrets = {"token": b"s3cr3t-value\n"}
    mounts = (
        RunMount("secret", "/run/secrets/token", source="token", mode=0o400),
        RunMount("secret", "", source="token", env="TOKEN"),
    )
    script = 'cat /run/secrets/token; stat -c %u:%g:%a /run/secrets/token; test -n "$TOKEN"; echo got $TOKEN'
    result = builder.run(shell(script, mounts=mounts))
    assert ["***", "0:0:400", "got ***"] == result["said"], "and what the command says is told without it"
    assert {} == result["entries"]
    assert "s3cr3t" not in repr(result["fields"])
    builder.secrets = {"token": b"another"}
    assert result["key"] == builder.run(shell(script, mounts=mounts))["key"]
    found = subprocess.run(["grep", "-r", "s3cr3t-value", str(builder.home)], capture_output=True, text=True, check=False)
    assert "" == found.stdout


@BOTH
def test_a_secret_is_not_in_the_error_of_a_failing_command(builder: Builder) -> None:
    builder.secrets = {"token": b"s3cr3t-value"}
    mount = RunMount("secret", "/t", source="token", mode=0o400)
    result = builder.run(shell("cat /t; exit 3", mounts=(mount,)))
    assert "s3cr3t" not in repr(result)
    assert "***" in result["error"]


@BOTH
def test_a_required_secret_that_is_not_given_is_named_and_another_is_left_out(builder: Builder) -> None:
    result = builder.run(shell("true", mounts=(RunMount("secret", "/t", source="key", required=True),)))
    assert ("the step needs the secret `key`, and none is given", True) == (result["error"], "id=key" in result["hint"])
    assert {} == builder.run(shell("test ! -e /t", mounts=(RunMount("secret", "/t", source="key"),)))["entries"]


@pytest.mark.parametrize("builder", ["root"], indirect=True)
def test_a_secret_can_belong_to_the_commands_user(builder: Builder) -> None:
    builder.secrets = {"token": b"value"}
    mine = RunMount("secret", "/t", source="token", mode=0o400, uid=33, gid=44)
    assert ["33:44:400"] == builder.run(shell("stat -c %u:%g:%a /t; cat /t > /dev/null", mounts=(mine,), user="web"))["said"]
    roots = RunMount("secret", "/t", source="token", mode=0o400)
    assert {} == builder.run(shell("! cat /t 2>&-", mounts=(roots,), user="web"))["entries"]


# tmpfs


@BOTH
def test_a_tmpfs_is_empty_bounded_and_gone(builder: Builder) -> None:
    mount = RunMount("tmpfs", "/etc/old", size_bytes=1 << 20, readonly=False)
    script = "test ! -e /etc/old/a; echo x > /etc/old/new; stat -f -c %b /etc/old; stat -c %a /etc/old"
    result = builder.run(shell(script, mounts=(mount,)))
    assert ({}, "1777") == (result["entries"], result["said"][-1])
    assert (1 << 20) // os.sysconf("SC_PAGE_SIZE") == int(result["said"][0])


def test_both_kinds_of_builders_make_the_same_layers() -> None:
    """What the tests above compare one by one, in one digest: user, mounts, a directory below that is another's."""
    step = shell(
        "echo x > /srv/web/mine; mkdir /srv/web/d; ln -s mine /srv/web/l; echo $PWD > out; touch /c/1",
        user="web",
        cwd="/srv/web/work",
        mounts=(RunMount("tmpfs", "/t/mp"), RunMount("cache", "/c", cache_id="c", uid=33, gid=44, readonly=False)),
    )
    results = []
    for user in ("root", "launchtest"):
        with home_of(user) as home:
            results.append(Builder(home, user).run(step))
    assert results[0] == results[1]
    assert "srv/web/work/out" in results[0]["entries"]
