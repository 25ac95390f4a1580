"""What SSH clients of this machine need to enter containers to work in: one entry for all of them, in a file of ours which the
user's own configuration includes, and a key by which the server is known.

The entry's ProxyCommand is `launch ssh-proxy HOST`, the server itself (`ssh_server.py`): nothing listens anywhere. Clients show
no key: whoever can start that command could do with `launch exec` what it lets him do.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

from launcher.cli import render
from launcher.errors import ConfigError
from launcher.run.dev_containers import name_of, started
from launcher.tracking.record.run_record import RunRecord
from runtime.file_lock import locked
from runtime.host.finding import Finding, good, off
from runtime.state_dir import StateDir, state_dir
from runtime.whole_file import replace_file

SUFFIX = ".launch"
"""Of hosts that are containers."""
_SERVER = "launch"
"""All containers' name in `known_hosts`: one key."""


def find_ssh() -> Finding:
    """Whether the library of the server is there (`launch doctor`)."""
    if importlib.util.find_spec("asyncssh") is None:
        words = "`launch dev --ssh` needs the library AsyncSSH, which is not installed"
        return off(words, command="pip install 'launch-ml[ssh]'")
    return good("editors can enter containers to work in (`launch dev --ssh`)")


def refuse_without_ssh() -> None:
    """Raises ConfigError where the library of the server is missing."""
    found = find_ssh()
    if not found.ok:
        raise ConfigError(found.detail, hint=f"`{found.command}`")


def offer_ssh(record: RunRecord, *, quiet: bool) -> None:
    """Have the container *record* entered by SSH clients, and say how."""
    state = state_dir()
    config = write_entry(state)
    if quiet:
        return
    render.say(f"`ssh {_host_of(record, state)}` enters it, and so do VS Code, PyCharm, sftp and rsync")
    if not _is_included(config):
        render.say("once the first line of ~/.ssh/config is:")
        render.say(f"  {include_line(config)}")


def _host_of(record: RunRecord, state: StateDir) -> str:
    return name_of(record, state) + SUFFIX


def include_line(config: Path) -> str:
    """What the user's own configuration has to have."""
    return f"Include {_quoted(config)}"


def host_key(state: StateDir) -> Path:
    """The key that every container's server shows; made if missing."""
    import asyncssh

    path = _directory(state) / "host_key"
    with locked(state.locks / "ssh.lock"):
        if not path.exists():
            replace_file(path, asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    return path


def _directory(state: StateDir) -> Path:
    directory = state.root / "ssh"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def write_entry(state: StateDir) -> Path:
    """The file to include, written anew."""
    import asyncssh

    known_hosts, config = _directory(state) / "known_hosts", _directory(state) / "config"
    public = asyncssh.read_private_key(host_key(state)).export_public_key().decode()
    replace_file(known_hosts, f"{_SERVER} {public}")
    hosts = " ".join(dict.fromkeys(_host_of(record, state) for record in started(state)))  # editors list those without `*`
    proxy = shlex.join(own_command(state, "ssh-proxy")).replace("%", "%%")
    entry = f"""\
# Made by `launch dev --ssh`, and made anew by the next one.
Host {hosts} *{SUFFIX}
    ProxyCommand {proxy} %n
    UserKnownHostsFile {_quoted(known_hosts)}
    HostKeyAlias {_SERVER}
    StrictHostKeyChecking yes
"""
    replace_file(config, entry)
    return config


def own_command(state: StateDir, *words: str) -> list[str]:
    """`launch WORDS` for a client that knows neither our PATH nor our LAUNCH_HOME."""
    installed = Path(sys.executable).with_name("launch")
    program = [str(installed)] if installed.exists() else [sys.executable, "-P", "-m", "launcher.warm.client"]
    return ["env", f"LAUNCH_HOME={state.root}", *program, *words]


def _quoted(path: Path) -> str:
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text


def _is_included(config: Path) -> bool:
    try:
        text = Path("~/.ssh/config").expanduser().read_text()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return False
    return str(config) in text or render.home_relative(config) in text
