"""Where the command line begins: from here on the interpreter's own file can't be overwritten by a container (CVE-2019-5736).

A container without a user namespace whose program is a script with `#!/proc/self/exe` gets hold of the file that we are while we
become it, and its root is the machine's. So root's commands that enter containers start over from a mount of that file that is
read-only, as runc does, before anything else is imported.
"""

from __future__ import annotations

import gc
import os
import sys

_ENTERING = frozenset({"create", "run", "exec"})


def main(arguments: list[str] | None = None, *, program: str = "python -m runtime") -> int:
    """Run one command; its exit code."""
    # No command lives long enough to make garbage that is worth collecting.
    gc.disable()
    words = sys.argv[1:] if arguments is None else arguments
    if os.geteuid() == 0 and not _ENTERING.isdisjoint(words):
        run_from_read_only_file()
    from runtime.oci_runtime.main import main as run_command

    return run_command(words, program=program)


def run_from_read_only_file() -> None:
    """Start this process over from a read-only mount of its own file; returns where it is so already, or can't be."""
    if os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        return
    from runtime.kernel import mounts

    try:
        tree = mounts.clone_tree("/proc/self/exe")
        mounts.set_attributes(tree, mounts.ATTR_RDONLY)
    except OSError:
        # Root of a container or of a user namespace: then the file isn't ours to overwrite either.
        return
    if os.fstatvfs(tree).f_flag & os.ST_RDONLY:
        os.execve(tree, [sys.executable, *sys.orig_argv[1:]], os.environ)


def exit_now(code: int) -> None:
    """End without the interpreter's clean-up, which takes longer than most commands."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
