"""The OCI runtime's containers, as they describe themselves from inside, and their life by the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel import capabilities
from tests.kernel.oci_bundle import NAMESPACES, Runtime, configuration, facts, python_configuration, write_bundle

pytestmark = pytest.mark.requires("root", "netns", "proc")

KERNEL = tuple(int(part) for part in os.uname().release.split(".")[:2])

STATUS = "answer = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A container's id: cgroups are told apart on the whole machine."""
    return f"{request.node.name[:40].replace('[', '-').replace(']', '')}-{os.getpid()}"


def test_the_bundles_program_is_the_first_process_and_has_three_descriptors(tmp_path: Path, name: str) -> None:
    code = "answer = [os.getpid(), os.getppid(), sorted(map(int, os.listdir('/proc/self/fd')))[:-1], os.listdir('/proc')]"
    pid, parent, descriptors, entries = facts(tmp_path, python_configuration(code), name)
    assert (1, 0, [0, 1, 2]) == (pid, parent, descriptors)
    assert ["1"] == [entry for entry in entries if entry.isdigit()]


def test_namespaces_that_are_named_are_new_and_others_are_shared(tmp_path: Path, name: str) -> None:
    names = {"cgroup": "cgroup", "ipc": "ipc", "mount": "mnt", "network": "net", "pid": "pid", "uts": "uts", "user": "user"}
    code = f"answer = {{n: os.readlink('/proc/self/ns/' + n) for n in {tuple(names.values())}}}"
    seen = facts(tmp_path, python_configuration(code), name)
    new = [kind for kind, file in names.items() if seen[file] != os.readlink(f"/proc/self/ns/{file}")]
    assert sorted(NAMESPACES) == sorted(new)


def test_a_namespace_with_a_path_is_joined(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    bundle = write_bundle(tmp_path / "first", configuration("sleep", "60"))
    runtime.run("run", "--detach", "--bundle", str(bundle), f"{name}-first")
    pid = runtime.state(f"{name}-first")["pid"]
    document = python_configuration("answer = os.readlink('/proc/self/ns/net')")
    document["linux"]["namespaces"] = [
        {"type": kind, **({"path": f"/proc/{pid}/ns/net"} if kind == "network" else {})} for kind in NAMESPACES
    ]
    try:
        assert os.readlink(f"/proc/{pid}/ns/net") == facts(tmp_path, document, name)
    finally:
        runtime.run("delete", "--force", f"{name}-first")


def with_user_namespace(directory: Path, document: dict[str, Any]) -> dict[str, Any]:
    """*document* with ids from 100000 on, and its root file system theirs."""
    document["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    document["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    for parent, directories, _files in os.walk(write_bundle(directory, document) / "rootfs"):
        for entry in (parent, *(os.path.join(parent, one) for one in directories)):
            os.chown(entry, 100000, 100000, follow_symlinks=False)
    return document


def test_ids_of_a_user_namespace_are_the_documents(tmp_path: Path, name: str) -> None:
    document = python_configuration("answer = [open('/proc/self/uid_map').read().split(), os.getuid()]")
    assert [["0", "100000", "1000"], 0] == facts(tmp_path, with_user_namespace(tmp_path, document), name)


@pytest.mark.skipif(KERNEL < (6, 15), reason="needs Linux 6.15: nodes are cloned out of a mount without a place")
def test_a_user_namespace_has_the_devices_of_the_document(tmp_path: Path, name: str) -> None:
    code = "s = os.stat('/dev/mine')\nanswer = [s.st_rdev, s.st_mode, s.st_uid, open('/dev/mine', 'rb').read(1) == bytes(1)]"
    document = python_configuration(code)
    document["linux"]["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 0}]
    assert [os.makedev(1, 5), 0o020640, 0, True] == facts(tmp_path, with_user_namespace(tmp_path, document), name)


def test_user_groups_umask_and_limits_are_the_documents(tmp_path: Path, name: str) -> None:
    code = "import resource as r\nanswer = [os.getuid(), os.getgid(), os.getgroups(), os.umask(0), r.getrlimit(r.RLIMIT_CORE)]"
    user = {"uid": 11, "gid": 12, "additionalGids": [13, 14], "umask": 0o77}
    document = python_configuration(code, user=user, rlimits=[{"type": "RLIMIT_CORE", "soft": 5, "hard": 6}])
    assert [11, 12, [13, 14], 0o77, [5, 6]] == facts(tmp_path, document, name)


def test_each_set_of_capabilities_is_the_documents(tmp_path: Path, name: str) -> None:
    sets = {
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }
    status = facts(tmp_path, python_configuration(STATUS, user={"uid": 7, "gid": 7}, capabilities=sets), name)
    found = {kind: int(status[kind], 16) for kind in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")}
    # exec gives an ordinary user what is ambient, and nothing else.
    assert capabilities.mask(sets["bounding"]) == found["CapBnd"]
    assert capabilities.mask({"CAP_KILL"}) == found["CapPrm"] == found["CapEff"] == found["CapInh"] == found["CapAmb"]
    assert "0" == status["NoNewPrivs"]


def test_a_capability_that_nobody_knows_is_a_warning(tmp_path: Path, name: str) -> None:
    document = configuration("true", capabilities={"bounding": ["CAP_MOON"]})
    runtime = Runtime(tmp_path)
    log = tmp_path / "log"
    words = ("--log", str(log), "--log-format", "json", "run", "--bundle", str(write_bundle(tmp_path, document)), name)
    runtime.run(*words)
    logged = json.loads(log.read_text())
    assert ("warning", "no such capability: `CAP_MOON`") == (logged["level"], logged["msg"])


def test_a_filter_holds_for_the_program(tmp_path: Path, name: str) -> None:
    code = "try:\n  os.mkdir('/tmp/x')\n  answer = 0\nexcept OSError as error:\n  answer = error.errno"
    for no_new_privileges in (True, False):
        document = python_configuration(code, noNewPrivileges=no_new_privileges)
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}
        document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
        assert 99 == facts(tmp_path, document, name)


def test_what_is_masked_is_empty_and_what_is_read_only_refuses(tmp_path: Path, name: str) -> None:
    code = """
def wrote(path):
    try:
        open(path, 'w').close()
        return True
    except OSError:
        return False
answer = [open('/proc/keys').read(), os.listdir('/sys/firmware'), wrote('/proc/sys/kernel/domainname'), wrote('/x')]"""
    document = python_configuration(code)
    document["linux"] |= {"maskedPaths": ["/proc/keys", "/sys/firmware", "/not/there"], "readonlyPaths": ["/proc/sys"]}
    document["root"]["readonly"] = True
    assert ["", [], False, False] == facts(tmp_path, document, name)


def test_devices_are_made_with_their_mode_and_owner(tmp_path: Path, name: str) -> None:
    code = "s = os.stat('/dev/mine')\nanswer = [s.st_rdev, s.st_mode, s.st_uid, sorted(os.listdir('/dev'))]"
    document = python_configuration(code)
    document["linux"]["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 9}]
    number, mode, uid, entries = facts(tmp_path, document, name)
    assert (os.makedev(1, 5), 0o020640, 9) == (number, mode, uid)
    assert {"fd", "full", "null", "ptmx", "random", "stdin", "tty", "urandom", "zero"} <= set(entries)


def test_mounts_have_their_options(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("there")
    code = "answer = {f[4]: [f[5], f[6:-3]] for f in map(str.split, open('/proc/self/mountinfo'))}"
    document = python_configuration(code + "\nanswer['copied'] = open('/etc/kept').read()")
    document["mounts"] += [
        {
            "destination": "/data",
            "type": "bind",
            "source": str(tmp_path / "data"),
            "options": ["rbind", "ro", "nosuid", "rprivate"],
        },
        {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["noexec", "noatime", "size=1m", "tmpcopyup"]},
        {"destination": "/shared", "type": "tmpfs", "source": "tmpfs", "options": ["shared"]},
    ]
    bundle = write_bundle(tmp_path, document)
    (bundle / "rootfs/etc/kept").write_text("kept")
    seen = facts(tmp_path, document, name)
    assert {"ro", "nosuid"} <= set(seen["/data"][0].split(","))
    assert {"rw", "noexec", "noatime"} <= set(seen["/etc"][0].split(","))
    assert seen["/shared"][1][0].startswith("shared:")
    assert "kept" == seen["copied"]


def test_a_link_in_the_image_cannot_move_a_mount_out_of_it(tmp_path: Path, name: str) -> None:
    """CVE-2021-30465: the target is resolved inside the root by the kernel, whatever it is by then."""
    outside = tmp_path / "outside"
    outside.mkdir()
    document = python_configuration("answer = os.path.ismount('/a' + " + repr(str(outside)) + ")")
    document["mounts"].append({"destination": "/link/deep", "type": "tmpfs", "source": "tmpfs"})
    bundle = write_bundle(tmp_path, document)
    (bundle / "rootfs/link").symlink_to("../../../outside")
    facts(tmp_path, document, name)
    assert [] == os.listdir(outside)


def test_proc_cannot_be_mounted_over_a_link(tmp_path: Path, name: str) -> None:
    """CVE-2019-19921: an image whose /proc is a link would have it mounted elsewhere, and masks would miss."""
    bundle = write_bundle(tmp_path, configuration("true"))
    (bundle / "rootfs/proc").rmdir()
    (bundle / "rootfs/proc").symlink_to("tmp")
    assert "`/proc` is a symbolic link" in Runtime(tmp_path).run("run", "--bundle", str(bundle), name, code=1)


def test_a_parameter_of_its_namespaces_is_set(tmp_path: Path, name: str) -> None:
    document = python_configuration("answer = open('/proc/sys/kernel/msgmax').read().strip()")
    document["linux"]["sysctl"] = {"kernel.msgmax": "8191"}
    assert "8191" == facts(tmp_path, document, name)
