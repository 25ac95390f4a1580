"""CVE-2019-5736 by a bundle of an ordinary user: the file at stake is that user's own Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.test_container_rootless import as_user, home

__all__ = ["home"]

pytestmark = pytest.mark.requires("root", "ordinary-user", "userns", "proc", "netns")

# The tests' interpreter for that user belongs to root, so that nothing would be at stake: one that is the user's is said to.
CODE = """
import subprocess
from tests.kernel.oci_bundle import NAMESPACES, REPOSITORY, configuration, write_bundle
SAID_BY = "import os; print(os.readlink('/proc/self/exe'))"
START = (
    "import sys; sys.path.insert(0, {path!r}); from runtime.container import exec_file; "
    "exec_file.own_file_is_at_stake = lambda: {at_stake}; "
    "from runtime.oci_runtime.entry import exit_now, main; exit_now(main())"
)
def outcome(at_stake, *args):
    document = configuration(*args, namespaces=(*NAMESPACES, "user"))
    ids = [{"containerID": 0, "hostID": os.getuid(), "size": 1}]
    document["linux"] |= {"uidMappings": ids, "gidMappings": [{**ids[0], "hostID": os.getgid()}]}
    directory = home / "at-stake"
    bundle = write_bundle(directory, document)
    script = bundle / "rootfs/usr/local/script"
    script.write_text("#!/proc/self/exe\\n" + SAID_BY + "\\n")
    script.chmod(0o755)
    start = START.format(path=str(REPOSITORY), at_stake=at_stake)
    words = ["--root", str(directory / "records"), "run", "--bundle", str(bundle), f"own-{os.getpid()}"]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", start, *words], capture_output=True, text=True, timeout=60)
    return [done.returncode, done.stdout.strip(), done.stderr.strip()]
"""


def test_no_program_of_a_bundle_is_its_runtime_s_own_file(home: Path) -> None:
    code = """
ways = (("/proc/self/exe", "-c", SAID_BY), ("/usr/local/script",), ("/usr/bin/echo", "hello"))
answer = [outcome(True, *words) for words in ways]
"""
    itself, script, other = as_user(home, CODE + code)
    for code, said, complained in (itself, script):
        assert (True, "", True) == (code != 0, said, "one of /proc" in complained), complained
    assert [0, "hello", ""] == other


def test_the_control_without_the_look_up_of_ours_it_is(home: Path) -> None:
    code, said, complained = as_user(home, CODE + 'answer = outcome(False, "/usr/local/script")')
    assert (0, True) == (code, "python" in said), complained
