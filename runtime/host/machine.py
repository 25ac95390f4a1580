"""The machine as its checks see it: files of the kernel and of /etc, programs, and who asks.

Tests put a directory in the place of `/`.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from runtime.kernel.processes import login_name
from runtime.light_dataclasses import dataclass, field

_PROGRAM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

_INSTALLERS = {"apt-get": "apt-get install -y", "dnf": "dnf install -y", "zypper": "zypper install -y", "pacman": "pacman -S"}
_NAMES_ELSEWHERE = {
    ("dnf", "uidmap"): "shadow-utils",
    ("zypper", "uidmap"): "shadow",
    ("pacman", "uidmap"): "shadow",
}
"""(installer, Debian's name of a package) → the name there."""


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine, unless a field says otherwise."""

    root: Path = Path("/")
    uid: int = field(default_factory=os.geteuid)
    user: str = field(default_factory=login_name)
    interpreter: str = field(default_factory=lambda: os.path.realpath("/proc/self/exe"))

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        """Content of a file without its line end; empty when it is not there or not ours to read."""
        try:
            return self.path(name).read_text(errors="replace").strip()
        except OSError:
            return ""

    def has(self, name: str) -> bool:
        return self.path(name).exists()

    def program(self, name: str) -> Path | None:
        """Where the program is, in the directories of the system."""
        found = (self.path(f"{directory}/{name}") for directory in _PROGRAM_DIRECTORIES)
        return next((path for path in found if os.access(path, os.X_OK)), None)

    def as_root(self, command: str) -> str:
        """How this user types the shell command *command* that only root may give."""
        if self.uid == 0:
            return command
        simple = not set(command) & set("&|;<>$'\"\n")
        return f"sudo {command}" if simple else f"sudo sh -c {shlex.quote(command)}"

    def installing(self, package: str) -> str:
        """The command that installs *package*, given by Debian's name; empty where we don't know the installer."""
        for installer, command in _INSTALLERS.items():
            if self.program(installer) is not None:
                return self.as_root(f"{command} {_NAMES_ELSEWHERE.get((installer, package), package)}")
        return ""

    def booting_with(self, parameter: str) -> str:
        """The command that adds *parameter* to the kernel's command line for the next start; empty for an unknown loader."""
        if self.program("grubby") is not None:
            return self.as_root(f"grubby --update-kernel=ALL --args={parameter}")
        if self.program("update-grub") is not None and self.has("/etc/default/grub"):
            edit = f"""sed -i 's/^GRUB_CMDLINE_LINUX="/&{parameter} /' /etc/default/grub"""
            return self.as_root(f"{edit} && update-grub")
        return ""

    def loading(self, *modules: str) -> str:
        """The command that loads kernel modules now and at each start."""
        names = " ".join(modules)
        return self.as_root(f"modprobe -a {names} && printf '%s\\n' {names} > /etc/modules-load.d/launch-{modules[0]}.conf")
