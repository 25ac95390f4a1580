"""RUN: its command line with shell and here-documents, its flags and mounts, and the step that it becomes.

The fields of `--mount=type=…,…` are read and judged as BuildKit does (instructions/commands_runmount.go).
"""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Mapping
from typing import Literal

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.document import Instruction
from launcher.plan.dockerfile.image_draft import ImageDraft, StageScope
from launcher.plan.dockerfile.logical_lines import heredoc_word
from launcher.plan.dockerfile.variables import Words
from launcher.plan.gpus.build_gpu import gpu_of_devices
from launcher.plan.image_plan import RUN_NETWORK
from runtime.build.plan import RunCommand, RunMount
from runtime.light_dataclasses import dataclass, field, replace
from runtime.suggestions import did_you_mean


def run_step(
    instruction: Instruction, scope: StageScope, *, environment: Mapping[str, str], network: str, gpu: str, label: str
) -> RunCommand:
    """The step of RUN. *environment*: ENV, ARG and proxies as they are here. *network*: what `default` means. *gpu*: which one
    `--device=nvidia.com/gpu=…` gets (`image.gpu`)."""
    if instruction.flag("security") == "insecure":
        hint = "a build step has the rights of a container's root, who has no rights on this machine"
        raise ConfigError("`RUN --security=insecure` is not supported", origin=instruction.origin, hint=hint)
    draft = scope.draft
    argv, stdin = _command(instruction, draft)
    written = read_mounts(instruction.flag_values("mount"), scope.words(instruction))
    mounts = [_mount(one, instruction, scope) for one in written]
    asked = instruction.flag("network") or "default"
    return RunCommand(
        argv=argv,
        env=tuple(sorted(environment.items())),
        network=network if asked == "default" else asked,
        cwd=draft.workdir,
        user=draft.user,
        mounts=tuple(mounts),
        stdin=stdin,
        label=label,
        gpu=gpu_of_devices(instruction.flag_values("device"), gpu, origin=instruction.origin),
    )


def default_network(asked: str | None) -> str:
    """What `--network=default` of RUN means under `launch build --network`."""
    return RUN_NETWORK if asked in (None, "default") else asked


def _command(instruction: Instruction, draft: ImageDraft) -> tuple[tuple[str, ...], str]:
    """The words to run and what they read."""
    if instruction.form != "shell":
        return instruction.words, ""
    (line,) = instruction.words
    if not instruction.heredocs:
        return draft.in_shell(line), ""
    if heredoc_word(line) is None:
        # Part of a command: given back to the shell, which knows what to do with it.
        whole = "".join([line, *(f"\n{heredoc.content}{heredoc.name}" for heredoc in instruction.heredocs)])
        return draft.in_shell(whole), ""
    (heredoc,) = instruction.heredocs
    if not heredoc.text.startswith("#!"):
        return draft.in_shell(heredoc.text), ""
    return _interpreter(heredoc.text, instruction), heredoc.text


def _interpreter(script: str, instruction: Instruction) -> tuple[str, ...]:
    """How the kernel would start *script* (execve(2), "Interpreter scripts"), which comes as standard input."""
    first = script.partition("\n")[0].removeprefix("#!").strip()
    if not first:
        raise ConfigError("the script of RUN names no interpreter after `#!`", origin=instruction.origin)
    program, _, argument = first.partition(" ")
    if not program.startswith("/"):
        raise ConfigError(f"the interpreter `{program}` of RUN's script is not an absolute path", origin=instruction.origin)
    return (program, *([argument.strip()] if argument.strip() else []), "/dev/stdin")


def _mount(written: WrittenMount, instruction: Instruction, scope: StageScope) -> RunMount:
    mount = mount_of(written, workdir=scope.draft.workdir, origin=instruction.origin)
    if written.from_ and written.from_ != "scratch":
        return replace(mount, stage=scope.stage_number(written.from_, instruction))
    if mount.kind == "bind" and written.from_ == "scratch":
        raise ConfigError("a bind mount `from=scratch` has no files", origin=instruction.origin, hint="`type=tmpfs` is empty")
    if mount.kind == "cache" and mount.source:
        raise ConfigError("a cache with a `source` needs a `from`", origin=instruction.origin)
    if mount.kind == "bind":
        files = scope.context.mounted(mount.source, origin=instruction.origin)
        return replace(mount, context=scope.context.root, files=files)
    return mount


_KEYS = {
    "type": "type",
    "from": "from",
    "source": "source",
    "src": "source",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "readonly": "readonly",
    "ro": "readonly",
    "readwrite": "readwrite",
    "rw": "readwrite",
    "required": "required",
    "size": "size",
    "id": "id",
    "sharing": "sharing",
    "mode": "mode",
    "uid": "uid",
    "gid": "gid",
    "env": "env",
}
_ALONE = ("readonly", "readwrite", "required")
_ALLOWED = {
    "bind": {"from", "source", "target", "readonly", "readwrite", "id"},
    "cache": {"from", "source", "target", "readonly", "readwrite", "id", "sharing", "mode", "uid", "gid"},
    "tmpfs": {"target", "size", "readonly", "readwrite"},
    "secret": {"id", "source", "target", "required", "env", "mode", "uid", "gid", "readonly", "readwrite"},
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_BOOLEANS = {**dict.fromkeys(("1", "t", "true"), True), **dict.fromkeys(("0", "f", "false"), False)}


@dataclass(frozen=True, slots=True)
class WrittenMount:
    """One `--mount`, its variables filled in; where `from` leads is not known yet."""

    kind: str
    from_: str
    fields: dict[str, str] = field(default_factory=dict)
    readonly: bool = True

    def path(self, name: str) -> str:
        """A source below the root of what is mounted, "" for all of it."""
        clean = posixpath.normpath(f"/{self.fields.get(name, '')}").lstrip("/")
        return "" if clean == "." else clean


def read_mounts(values: tuple[str, ...], words: Words) -> list[WrittenMount]:
    """The mounts of one RUN, as written."""
    return [_read_mount(value, words) for value in values]


def mount_of(written: WrittenMount, *, workdir: str, origin: Origin) -> RunMount:
    """Everything about *written* but where its files are."""
    fields = written.fields
    if written.kind == "secret":
        return _secret(fields, workdir, origin)
    target = posixpath.normpath(posixpath.join("/", workdir, fields.get("target", "")))
    if not fields.get("target") or target == "/":
        raise ConfigError(f"a mount of type {written.kind} needs a `target` other than `/`", origin=origin)
    if written.kind == "tmpfs":
        return RunMount("tmpfs", target, readonly=written.readonly, size_bytes=_size(fields.get("size"), origin))
    if written.kind == "bind":
        return RunMount("bind", target, source=written.path("source"), readonly=written.readonly)
    return RunMount(
        "cache",
        target,
        source=written.path("source"),
        cache_id=fields.get("id") or target,
        sharing=_parse_sharing(fields.get("sharing", "shared"), origin),
        readonly=written.readonly,
        mode=_mode(fields, 0o755, origin),
        uid=_id(fields, "uid", origin),
        gid=_id(fields, "gid", origin),
    )


def _read_mount(value: str, words: Words) -> WrittenMount:
    fields: dict[str, str] = {}
    readonly: bool | None = None
    for text in next(csv.reader([value]), []):
        written, equals, content = text.partition("=")
        key = _key(written.lower(), text, words.origin)
        if not equals and key not in _ALONE:
            raise ConfigError(f"`{text}` of `--mount` is not `key=value`", origin=words.origin)
        if key == "from" and "$" in content.rstrip("$"):
            hint = "name the image or stage with `FROM … AS name`, whose line may hold variables"
            raise ConfigError("`from` of `--mount` cannot hold variables", origin=words.origin, hint=hint)
        content = words.one(content) if equals and key != "from" else content or "true"
        if key in ("readonly", "readwrite"):
            readonly = _boolean(content, key, words.origin) is (key == "readonly")
        fields[key] = content
    kind = fields.pop("type", "bind").lower()
    _check(kind, fields, words.origin)
    return WrittenMount(kind, fields.pop("from", ""), fields, kind in ("bind", "secret") if readonly is None else readonly)


def _key(written: str, text: str, origin: Origin) -> str:
    if written not in _KEYS:
        raise ConfigError(f"`--mount` has no `{text}`", origin=origin, hint=did_you_mean(written, _KEYS))
    return _KEYS[written]


def _check(kind: str, fields: dict[str, str], origin: Origin) -> None:
    if kind == "ssh":
        hint = "a key can be handed in as `--mount=type=secret`"
        raise ConfigError("`RUN --mount=type=ssh` is not supported: there is no agent in a build", origin=origin, hint=hint)
    if kind not in _ALLOWED:
        hint = did_you_mean(kind, _ALLOWED) or f"one of {', '.join(_ALLOWED)}"
        raise ConfigError(f"`--mount` has no type `{kind}`", origin=origin, hint=hint)
    for key in fields:
        if key not in _ALLOWED[kind]:
            raise ConfigError(f"a mount of type {kind} has no `{key}`", origin=origin)


def _secret(fields: dict[str, str], workdir: str, origin: Origin) -> RunMount:
    if "source" in fields and "id" in fields:
        raise ConfigError("a secret has an `id` or a `source`, not both", origin=origin)
    target = fields.get("target", "")
    name = fields.get("source") or fields.get("id") or posixpath.basename(target)
    if not name:
        raise ConfigError("a secret needs an `id`", origin=origin, hint="as in `--mount=type=secret,id=token`")
    env = fields.get("env", "")
    if not target and not env:
        target = f"/run/secrets/{posixpath.basename(name)}"
    if target:
        target = posixpath.normpath(posixpath.join("/", workdir, target))
    required = _boolean(fields.get("required", "false"), "required", origin)
    return RunMount(
        "secret",
        target,
        source=name,
        env=env,
        required=required,
        mode=_mode(fields, 0o400, origin),
        uid=_id(fields, "uid", origin),
        gid=_id(fields, "gid", origin),
    )


def _mode(fields: dict[str, str], default: int, origin: Origin) -> int:
    text = fields.get("mode")
    if text is None:
        return default
    if not re.fullmatch(r"[0-7]{1,5}", text):
        raise ConfigError(f"`mode={text}` of `--mount` is not a mode", origin=origin, hint="an octal number, as `0700`")
    return int(text, 8)


def _id(fields: dict[str, str], key: str, origin: Origin) -> int:
    text = fields.get(key, "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ConfigError(f"`{key}={text}` of `--mount` is not an ID: it has to be a number", origin=origin)
    return int(text)


def _parse_sharing(text: str, origin: Origin) -> Literal["shared", "private", "locked"]:
    match text.lower():
        case "shared" | "private" | "locked" as known:
            return known
        case _:
            raise ConfigError(f"`sharing` is `shared`, `private` or `locked`, not `{text}`", origin=origin)


def _boolean(text: str, key: str, origin: Origin) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ConfigError(f"`{key}` of `--mount` is true or false, not `{text}`", origin=origin)
    return _BOOLEANS[text.lower()]


def _size(text: str | None, origin: Origin) -> int | None:
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ConfigError(f"`size={text}` of `--mount` is not a size", origin=origin, hint="as `64m` or `1g`")
    return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))
