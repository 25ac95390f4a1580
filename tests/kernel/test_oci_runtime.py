"""The OCI runtime's containers, as they describe themselves from inside, and their life by the command line."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.kernel import capabilities
from tests.kernel.oci_bundle import NAMESPACES, Runtime, configuration, facts, python_configuration, write_bundle
from tests.kernel.userland import PYTHON

pytestmark = pytest.mark.requires("root", "netns", "proc")

STATUS = "answer = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A container's id: cgroups are told apart on the whole machine."""
    return f"{request.node.name[:40].replace('[', '-').replace(']', '')}-{os.getpid()}"


def until(runtime: Runtime, name: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while (state := runtime.state(name))["status"] != status:
        assert time.monotonic() < deadline, state
        time.sleep(0.01)
    return state


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


def test_ids_of_a_user_namespace_are_the_documents(tmp_path: Path, name: str) -> None:
    document = python_configuration("answer = [open('/proc/self/uid_map').read().split(), os.getuid()]")
    document["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    document["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    for parent, directories, _files in os.walk(write_bundle(tmp_path, document) / "rootfs"):
        for entry in (parent, *(os.path.join(parent, one) for one in directories)):
            os.chown(entry, 100000, 100000, follow_symlinks=False)
    assert [["0", "100000", "1000"], 0] == facts(tmp_path, document, name)


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
    found = {kind: capabilities.names_in(int(status[kind], 16)) for kind in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")}
    # exec gives an ordinary user what is ambient, and nothing else.
    assert set(sets["bounding"]) == found["CapBnd"]
    assert {"CAP_KILL"} == found["CapPrm"] == found["CapEff"] == found["CapInh"] == found["CapAmb"]
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


def test_a_created_container_waits_for_start_and_can_be_started_once(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    bundle = write_bundle(tmp_path, configuration("sh", "-c", "touch /ran; sleep 60"))
    pid_file = tmp_path / "pid"
    runtime.run("create", "--bundle", str(bundle), "--pid-file", str(pid_file), name)
    state = runtime.state(name)
    assert ("created", int(pid_file.read_text()), str(bundle)) == (state["status"], state["pid"], state["bundle"])
    assert not (bundle / "rootfs/ran").exists()
    assert "already exists" in runtime.run("create", "--bundle", str(bundle), name, code=1)
    runtime.run("start", name)
    assert "is running, not created" in runtime.run("start", name, code=1)
    assert "is running, not stopped" in runtime.run("delete", name, code=1)
    runtime.run("kill", name, "KILL")
    until(runtime, name, "stopped")
    runtime.run("delete", name)
    assert "does not exist" in runtime.run("state", name, code=1)
    assert (bundle / "rootfs/ran").exists()


def test_run_gives_the_programs_exit_code_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    bundle = write_bundle(tmp_path, configuration("sh", "-c", "exit 7"))
    runtime.run("run", "--bundle", str(bundle), name, code=7)
    write_bundle(tmp_path, configuration("sh", "-c", "kill -9 $$"))
    # The first process of a PID namespace can't be killed from within.
    runtime.run("run", "--bundle", str(bundle), name, code=0)
    assert [] == os.listdir(tmp_path / "records")


def test_a_program_that_is_not_there_fails_at_create(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    said = runtime.run("create", "--bundle", str(write_bundle(tmp_path, configuration("/no/such"))), name, code=1)
    assert "executable file `/no/such` not found" in said
    assert [] == os.listdir(tmp_path / "records")


def test_exec_is_inside_and_has_its_own_identity(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    bundle = write_bundle(tmp_path, configuration("sleep", "60", env=["PATH=/usr/bin", "A=b"]))
    runtime.run("run", "--detach", "--bundle", str(bundle), name)
    code = "import json, os; print(json.dumps([os.getuid(), os.getcwd(), os.environ['A'], os.readlink('/proc/self/ns/pid')]))"
    pid = runtime.state(name)["pid"]
    try:
        said = json.loads(runtime.run("exec", "--user", "5:6", "--cwd", "/tmp", name, PYTHON, "-I", "-c", code))
        assert [5, "/tmp", "b", os.readlink(f"/proc/{pid}/ns/pid")] == said
        runtime.run("exec", name, "sh", "-c", "exit 9", code=9)
        assert "not found in $PATH" in runtime.run("exec", name, "no-such-program", code=1)
        runtime.run("exec", "--detach", "--pid-file", str(tmp_path / "pid"), name, "sleep", "60")
        assert os.readlink(f"/proc/{int((tmp_path / 'pid').read_text())}/ns/net") == os.readlink(f"/proc/{pid}/ns/net")
        assert 2 == len(json.loads(runtime.run("ps", "--format", "json", name)))
    finally:
        runtime.run("delete", "--force", name)


def test_a_process_of_exec_cannot_be_looked_into_by_the_container(tmp_path: Path, name: str) -> None:
    """CVE-2016-9962 and CVE-2024-21626: no descriptor of the machine arrives, and the working directory is the container's."""
    runtime = Runtime(tmp_path)
    runtime.run("run", "--detach", "--bundle", str(write_bundle(tmp_path, configuration("sleep", "60"))), name)
    try:
        with open("/etc/hostname") as leaked:
            os.set_inheritable(leaked.fileno(), True)
            said = runtime.run("exec", name, "ls", "/proc/self/fd", close_fds=False)
        assert ["0", "1", "2", "3"] == said.split()  # 3 is ls's own
        for number in range(3, 9):
            runtime.run("exec", "--cwd", f"/proc/self/fd/{number}", name, "true", code=1)
    finally:
        runtime.run("delete", "--force", name)


def test_the_runtimes_own_file_cannot_be_overwritten_through_proc(tmp_path: Path, name: str) -> None:
    """CVE-2019-5736: a script that is interpreted by what we are gets a file on a read-only mount."""
    runtime = Runtime(tmp_path)
    script = "#!/proc/self/exe\nimport os\nprint(bool(os.statvfs('/proc/self/exe').f_flag & os.ST_RDONLY))\n"
    home = f"PYTHONHOME={sys.base_prefix}"
    bundle = write_bundle(tmp_path, configuration("/evil", env=["PATH=/usr/bin", home]))
    (bundle / "rootfs/evil").write_text(script)
    (bundle / "rootfs/evil").chmod(0o755)
    assert "True\n" == runtime.run("run", "--bundle", str(bundle), name)
    write_bundle(tmp_path, configuration("sleep", "60"))
    runtime.run("run", "--detach", "--bundle", str(bundle), name)
    try:
        assert "True\n" == runtime.run("exec", "--env", home, name, "/evil")
    finally:
        runtime.run("delete", "--force", name)


def test_signals_reach_the_program(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    script = "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.05; done"
    bundle = write_bundle(tmp_path, configuration("sh", "-c", script))
    runtime.run("run", "--detach", "--bundle", str(bundle), name)
    deadline = time.monotonic() + 10
    while not (bundle / "rootfs/ready").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    runtime.run("kill", name)
    until(runtime, name, "stopped")
    assert "is not running" in runtime.run("kill", name, code=1)
    runtime.run("delete", name)


def test_a_paused_container_stands_still(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    runtime.run("run", "--detach", "--bundle", str(write_bundle(tmp_path, configuration("sleep", "60"))), name)
    try:
        runtime.run("pause", name)
        assert "paused" == runtime.state(name)["status"]
        assert "is paused" in runtime.run("exec", name, "true", code=1)
        runtime.run("resume", name)
        assert "running" == runtime.state(name)["status"]
    finally:
        runtime.run("delete", "--force", name)


def test_limits_are_set_and_changed(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    document = configuration("sleep", "60")
    document["linux"]["resources"] = {"pids": {"limit": 20}, "memory": {"limit": 64 << 20}}
    runtime.run("run", "--detach", "--bundle", str(write_bundle(tmp_path, document)), name)
    cgroups = json.loads((tmp_path / "records" / name / "state.json").read_text())["cgroups"]
    pids = Path(cgroups.get("pids") or cgroups[""], "pids.max")
    try:
        assert "20" == pids.read_text().strip()
        runtime.run("update", "--pids-limit", "30", name)
        assert "30" == pids.read_text().strip()
    finally:
        runtime.run("delete", "--force", name)
    assert not pids.parent.exists()


def hook(path: Path, word: str, **fields: Any) -> dict[str, Any]:
    script = f"read state; echo {word} $state >> {path}"
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **fields}


def test_hooks_run_in_their_order_and_hear_of_the_state(tmp_path: Path, name: str) -> None:
    log = tmp_path / "log"
    document = configuration("true")
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    document["hooks"] = {kind: [hook(log, f"{kind}-1"), hook(log, f"{kind}-2")] for kind in kinds}
    document["hooks"]["startContainer"] = [{"path": "/usr/bin/touch", "args": ["touch", "/inside"]}]
    document["annotations"] = {"a": "b"}
    bundle = write_bundle(tmp_path, document)
    Runtime(tmp_path).run("run", "--bundle", str(bundle), name)
    lines = [line.partition(" ")[::2] for line in log.read_text().splitlines()]
    assert [f"{kind}-{number}" for kind in kinds for number in (1, 2)] == [word for word, _state in lines]
    states = [json.loads(state) for _word, state in lines]
    assert ["created"] * 6 + ["running"] * 2 + ["stopped"] * 2 == [state["status"] for state in states]
    assert {(name, str(bundle), "b")} == {(state["id"], state["bundle"], state["annotations"]["a"]) for state in states}
    assert (bundle / "rootfs/inside").exists()


def test_a_hook_that_fails_or_takes_too_long_ends_the_container(tmp_path: Path, name: str) -> None:
    runtime = Runtime(tmp_path)
    failing = (("exited with 3", {"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}),)
    slow = (("ran longer than its 1 s", {"path": "/bin/sleep", "args": ["sleep", "30"], "timeout": 1}),)
    for said, failing_hook in (*failing, *slow):
        document = configuration("true")
        document["hooks"] = {"createRuntime": [failing_hook], "poststop": [hook(tmp_path / "log", "stopped")]}
        assert said in runtime.run("run", "--bundle", str(write_bundle(tmp_path, document)), name, code=1)
    assert [] == os.listdir(tmp_path / "records")
    assert 2 == len((tmp_path / "log").read_text().splitlines())


def test_a_killed_create_leaves_no_process(tmp_path: Path, name: str) -> None:
    """The container's process sees the end of the socket and goes; what is recorded can be deleted."""
    runtime = Runtime(tmp_path)
    document = configuration("sleep", "60")
    document["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"kill -{int(signal.SIGKILL)} $PPID"]}]}
    runtime.run("create", "--bundle", str(write_bundle(tmp_path, document)), name, code=-9)
    assert "creating" == runtime.state(name)["status"]
    cgroups = json.loads((tmp_path / "records" / name / "state.json").read_text())["cgroups"]
    runtime.run("delete", "--force", name)
    assert [] == [directory for directory in cgroups.values() if os.path.exists(directory)]
