"""Instructions of a Dockerfile as text: words quoted so that they arrive as they are, the image's configuration, COPY, ADD and
RUN.

Only what every builder knows is used: no here-documents, and the shell form of RUN, whose text no builder changes.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from launcher.plan.dockerfile.image_draft import HEALTHCHECK_TIMES
from launcher.plan.dockerfile_export.context_folder import ContextFolder
from runtime.build.plan import ContextFiles, CopyFiles, ImageConfig, InlineFiles, RunCommand, RunMount, StageFiles

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SPECIAL = re.compile(r"[\\$\"']")


class Unwritable(ValueError):
    """Something that no line of a Dockerfile can hold."""


def value(text: str) -> str:
    """*text* as the value of ENV or LABEL."""
    _refuse_what_no_line_holds(text)
    if re.fullmatch(r"[\w@%+=:,./-]+", text):
        return text
    return '"' + re.sub(r"([\\\"$])", r"\\\1", text) + '"'


def bare(text: str) -> str:
    """*text* as the one argument of USER, WORKDIR or STOPSIGNAL, where variables and quotes count."""
    _refuse_what_no_line_holds(text)
    if text != text.strip() or not text:
        raise Unwritable(f"`{text}` begins or ends with white space")
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def words(texts: Sequence[str]) -> str:
    """*texts* as the arguments of COPY, ADD or VOLUME: as an array where white space needs it."""
    escaped = [bare(text) for text in texts]
    plain = all(re.fullmatch(r"[^\s\[\\]+", text) for text in escaped) and not any("<<" in text for text in escaped)
    return " ".join(escaped) if plain else array(escaped)


def array(texts: Sequence[str]) -> str:
    """The exec form."""
    return json.dumps(list(texts), ensure_ascii=False)


def single_quoted(text: str) -> str:
    """*text* in the shell's single quotes."""
    _refuse_what_no_line_holds(text)
    return "'" + text.replace("'", "'\\''") + "'"


def shell_word(text: str) -> str:
    """*text* as a word of a shell, quoted where it needs to be."""
    _refuse_what_no_line_holds(text)
    return shlex.quote(text)


def is_shell_name(name: str) -> bool:
    """Whether a shell can assign to *name*."""
    return _NAME.match(name) is not None


def _refuse_what_no_line_holds(text: str) -> None:
    if any(char in text for char in "\n\r\0"):
        raise Unwritable(f"`{text.splitlines()[0]}…` has a line end in it")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise Unwritable("a name is not UTF-8")


_PLAIN_NAME = re.compile(r"[\w@%+=:,.-]+\Z")


def copy_text(step: CopyFiles, folder: ContextFolder, stage_name: Callable[[int], str]) -> str | None:
    """The instruction; None when only the archive of the layer can say what it makes.

    Of an archive that ADD unpacks for somebody, builders do not agree whose its content is.
    """
    if step.unpack and step.owner:
        return None
    match step.source:
        case StageFiles(stage=stage, patterns=patterns):
            sources = [f"/{pattern}" for pattern in patterns]
            return _text("COPY", [f"--from={stage_name(stage)}", *_flags(step)], sources, step.target)
        case ContextFiles(root=root, files=files, single=single):
            if (single or step.unpack) and not all(_PLAIN_NAME.match(path) for _, path, _, _ in files):
                return None
            copied = folder.files(root, files, "files")
            several = single or step.unpack
            sources = [f"{copied}/{path}" for _, path, _, _ in files] if several else [f"{copied}/"]
            target = step.target if single else step.target.rstrip("/") + "/"
            return _text("ADD" if step.unpack else "COPY", _flags(step), sources, target)
        case InlineFiles(files=files):
            if not all(_PLAIN_NAME.match(name) for name, _ in files):
                return None
            copied = folder.texts(files, "texts")
            return _text("COPY", _flags(step), [f"{copied}/{name}" for name, _ in files], step.target)
    return None


def _flags(step: CopyFiles) -> list[str]:
    owner = [f"--chown={bare(step.owner)}"] if step.owner else []
    return [*owner, *([f"--chmod={step.mode:04o}"] if step.mode is not None else [])]


def _text(keyword: str, flags: list[str], sources: list[str], target: str) -> str:
    return " ".join([keyword, *flags, words([*sources, target])])


def mount_flags(mount: RunMount, folder: ContextFolder, stage_name: Callable[[int], str]) -> str:
    """`--mount=type=…`."""
    fields: dict[str, str] = {"type": mount.kind, "target": mount.target}
    if mount.stage is not None:
        fields["from"] = stage_name(mount.stage)
    if mount.kind == "secret":
        fields["id"] = mount.source
    elif mount.kind == "bind" and mount.stage is None:
        copied = folder.files(mount.context, [(path, path, mode, sha256) for path, mode, sha256 in mount.files], "mounted")
        fields["source"] = f"{copied}/{mount.source}".rstrip("/")
    elif mount.source:
        fields["source"] = mount.source
    fields |= _kind_options(mount)
    if any(char in text for text in fields.values() for char in ',"$\\ \t\n'):
        raise Unwritable(f"a mount at `{mount.target}` has characters that no flag can hold")
    return "--mount=" + ",".join(f"{name}={text}" for name, text in fields.items() if text)


def _kind_options(mount: RunMount) -> dict[str, str]:
    match mount.kind:
        case "bind":
            return {} if mount.readonly else {"rw": "true"}
        case "tmpfs":
            return {"size": str(mount.size_bytes or "")}
        case "cache":
            shared = {"id": mount.cache_id, "sharing": mount.sharing, "readonly": "true" if mount.readonly else ""}
            return shared | _owner(mount, default_mode=0o755)
        case "secret":
            needed = {"required": "true" if mount.required else "", "env": mount.env}
            return needed | _owner(mount, default_mode=0o400)


def _owner(mount: RunMount, *, default_mode: int) -> dict[str, str]:
    return {
        "mode": f"{mount.mode:04o}" if mount.mode != default_mode else "",
        "uid": str(mount.uid or ""),
        "gid": str(mount.gid or ""),
    }


def env_text(env: Mapping[str, str], warn: list[str]) -> Iterator[str]:
    """ENV, one variable a line."""
    yield from _pairs("ENV", env, warn)


def config_text(
    config: ImageConfig, *, command: Sequence[str], user: str, cwd: str, onto_image: bool, warn: list[str]
) -> Iterator[str]:
    """Everything but ENV. *command* is for an image that has none. *user* and *cwd* are set already. *onto_image*: what FROM
    brought has to be taken back."""
    yield from _pairs("LABEL", config.labels, warn)
    if config.exposed_ports:
        yield f"EXPOSE {' '.join(config.exposed_ports)}"
    if (config.workdir or "/") != cwd:
        yield f"WORKDIR {bare(config.workdir or '/')}"
    if config.user != user and (config.user or "0") != user:
        yield f"USER {bare(config.user or '0')}"
    if config.stop_signal:
        yield f"STOPSIGNAL {bare(config.stop_signal)}"
    if config.healthcheck is not None:
        yield f"HEALTHCHECK {_healthcheck(config.healthcheck)}"
    if config.shell:
        yield f"SHELL {array(config.shell)}"
    if config.entrypoint or onto_image:
        yield f"ENTRYPOINT {array(config.entrypoint)}"
    chosen = config.command or (command if not config.entrypoint else ())
    if chosen or onto_image:
        yield f"CMD {array(chosen)}"
    if config.volumes:
        yield f"VOLUME {array([bare(volume) for volume in config.volumes])}"
    for trigger in config.onbuild:
        if "\n" in trigger:
            warn.append(f"the trigger `{trigger.splitlines()[0]}…` is not written: it has several lines")
        else:
            yield f"ONBUILD {trigger}"


def _pairs(keyword: str, pairs: Mapping[str, str], warn: list[str]) -> Iterator[str]:
    written = []
    for name, text in pairs.items():
        try:
            written.append(f"{value(name)}={value(text) if text else ''}")
        except Unwritable:
            warn.append(f"{keyword} `{name}` is not written: its value has several lines")
    if written:
        yield f"{keyword} " + " \\\n    ".join(written)


def _healthcheck(check: Mapping[str, Any]) -> str:
    test = [str(word) for word in check.get("Test", ())]
    if test[:1] == ["NONE"]:
        return "NONE"
    flags = [f"--{flag}={_duration(check[key])}" for flag, key in HEALTHCHECK_TIMES.items() if check.get(key)]
    flags += [f"--retries={check['Retries']}"] if check.get("Retries") else []
    command = test[1] if test[:1] == ["CMD-SHELL"] else array(test[1:])
    if "\n" in command:
        raise Unwritable("the health check has several lines")
    return " ".join([*flags, "CMD", command])


def _duration(nanoseconds: int) -> str:
    """As Go reads it."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000)):
        if nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}ns"


def run_text(
    step: RunCommand,
    *,
    wanted: Mapping[str, str],
    env: Mapping[str, str],
    cwd: str,
    mounts: Sequence[str],
    after: Sequence[Sequence[str]],
) -> str:
    """RUN for *step*. *wanted* is its environment. *env* and *cwd*: the builder's own at that place. *mounts*: flags. *after*:
    commands that follow."""
    scripts = _Scripts()
    command = [*_assignments(wanted, env, scripts), " ".join(scripts.word(word) for word in step.argv)]
    if step.stdin:
        command = [*_print_commands(step.stdin), f"| {command[0]}", *command[1:]]
    commands = [*([] if step.cwd == cwd else [[f"cd {shell_word(step.cwd)}"]]), *scripts.made, command]
    # The network of the host takes an entitlement in BuildKit; what builders give by default does for fetching.
    flags = [*(["--network=none"] if step.network == "none" else []), *mounts]
    return instruction([*commands, *after], flags)


def instruction(commands: Sequence[Sequence[str]], flags: Sequence[str] = ()) -> str:
    """RUN of *commands*, each of one line or more, one after the other as long as they succeed."""
    lines = [line for command in commands[:-1] for line in (*command[:-1], f"{command[-1]} &&")] + [*commands[-1]]
    head = " ".join(["RUN", *flags])
    return " \\\n    ".join([head, *lines] if flags else [f"{head} {lines[0]}", *lines[1:]])


def _assignments(wanted: Mapping[str, str], env: Mapping[str, str], scripts: _Scripts) -> list[str]:
    """What stands before the command: the variables that *env* does not give it."""
    given = [(name, text) for name, text in sorted(wanted.items()) if env.get(name) != text]
    through_env = [single_quoted(f"{name}={text}") for name, text in given if not is_shell_name(name)]
    assigned = [f"{name}={scripts.word(text)}" for name, text in given if is_shell_name(name)]
    return [*assigned, *([f"env {' '.join(through_env)}"] if through_env else [])]


def removal_globs(patterns: Iterable[str]) -> str:
    """What `rm -rf` has to be given for globs of `RunCommand.drop`."""
    gone: list[str] = []
    for pattern in patterns:
        if pattern.endswith("/**"):
            directory = f"/{pattern.removesuffix('/**')}"
            gone += [f"{directory}/*", f"{directory}/.[!.]*"]
        else:
            gone.append(f"/{pattern}")
    return " ".join(gone)


def removal(variable: str, kept: Sequence[str]) -> list[list[str]]:
    """Commands that remove what *variable* holds (see `removal_globs`) and put back the plain directories *kept*."""
    # What the builder has mounted there cannot be removed, and is nobody's.
    commands = [[f"{{ rm -rf ${variable} || true; }}"]]
    return [*commands, *([[f"mkdir -p {' '.join(map(shell_word, kept))}"]] if kept else [])]


class _Scripts:
    """Words of several lines: each gets a variable, since a line of a Dockerfile cannot hold them."""

    def __init__(self) -> None:
        self.made: list[list[str]] = []

    def word(self, text: str) -> str:
        if "\n" not in text:
            return shell_word(text)
        name = f"script{len(self.made) + 1 if self.made else ''}"
        self.made.append([f"{name}=$(printf '%s\\n'", *_lines(text.strip("\n"), end=")")])
        return f'"${name}"'


def _lines(text: str, *, end: str = "") -> list[str]:
    """The lines of *text*, quoted and indented."""
    lines = [f"    {single_quoted(line)}" for line in text.split("\n")]
    return [*lines[:-1], lines[-1] + end]


def _print_commands(text: str) -> list[str]:
    """Commands that print *text*, to be piped."""
    whole, end, rest = text.rpartition("\n")
    printed = ["printf '%s\\n'", *_lines(whole)] if end else []
    if not rest:
        return printed
    last = ["printf '%s'", f"    {single_quoted(rest)}"]
    return ["{", *printed[:-1], f"{printed[-1]};", *last[:-1], f"{last[-1]}; }}"] if printed else last
