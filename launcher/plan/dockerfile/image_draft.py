"""The configuration of a stage's image while its instructions are read: what comes from the base, then what each one changes.

The instructions that change it and no file (LABEL, USER, CMD, EXPOSE and so on) are functions of one instruction and the draft;
which words have variables is BuildKit's choice (instructions/commands.go).
"""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from launcher.errors import ConfigError
from launcher.plan.dockerfile.arguments import nanoseconds
from launcher.plan.dockerfile.context import BuildContext
from launcher.plan.dockerfile.document import Instruction
from launcher.plan.dockerfile.variables import Warn, Words
from runtime.build.plan import ImageConfig, env_of
from runtime.light_dataclasses import dataclass, field, fields

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")


@dataclass
class ImageDraft:
    """Like `runtime.build.plan.ImageConfig`, but it can be changed."""

    env: dict[str, str] = field(default_factory=lambda: {"PATH": DEFAULT_PATH})
    workdir: str = "/"
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    exposed_ports: dict[str, None] = field(default_factory=dict)
    volumes: dict[str, None] = field(default_factory=dict)
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    healthcheck: dict[str, Any] | None = None
    onbuild: tuple[str, ...] = ()
    command_is_own: bool = False
    """This stage has a CMD, which an ENTRYPOINT then leaves alone; one from the base it takes away."""

    @classmethod
    def of_base(cls, config: Mapping[str, Any], env: Mapping[str, str]) -> ImageDraft:
        """What an image with the execution part *config* hands on. *env* counts where that has none (our own bases)."""
        return cls(
            env={"PATH": DEFAULT_PATH, **(env_of(config) or env)},
            workdir=config.get("WorkingDir") or "/",
            user=config.get("User") or "",
            entrypoint=tuple(config.get("Entrypoint") or ()),
            command=tuple(config.get("Cmd") or ()),
            labels=dict(config.get("Labels") or {}),
            exposed_ports=dict.fromkeys(config.get("ExposedPorts") or ()),
            volumes=dict.fromkeys(config.get("Volumes") or ()),
            stop_signal=config.get("StopSignal") or "",
            shell=tuple(config.get("Shell") or ()),
            healthcheck=config.get("Healthcheck"),
            onbuild=tuple(config.get("OnBuild") or ()),
        )

    def for_child(self) -> ImageDraft:
        """What a stage that begins `FROM` this one starts with."""
        child = deepcopy(self)
        child.command_is_own = False
        return child

    def in_shell(self, command: str) -> tuple[str, ...]:
        """The words of the shell form."""
        return (*(self.shell or DEFAULT_SHELL), command)

    def to_config(self, *, architecture: str) -> ImageConfig:
        same = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "command_is_own"}
        changed = {
            "env": dict(self.env),
            "labels": dict(self.labels),
            "exposed_ports": tuple(sorted(self.exposed_ports)),
            "volumes": tuple(sorted(self.volumes)),
        }
        return ImageConfig(**{**same, **changed}, architecture=architecture)


StageNumber = Callable[[str, Instruction], int]
"""`from` of an instruction → the number of that stage in the build plan."""


class StageScope(NamedTuple):
    """What the instructions of one stage see and change."""

    draft: ImageDraft
    variables: dict[str, str]
    """What words and RUN see: ENV and ARG, the later over the earlier."""
    context: BuildContext
    stage_number: StageNumber
    escape: str
    warn: Warn

    def words(self, instruction: Instruction) -> Words:
        """For filling in the words of *instruction*."""
        return Words(self.variables, escape=self.escape, origin=instruction.origin, warn=self.warn)


_PORT = re.compile(r"(\d+)(?:-(\d+))?(?:/([A-Za-z]+))?")
_PROTOCOLS = ("tcp", "udp", "sctp")
_MOST_PORTS = 65535


def apply_metadata(instruction: Instruction, scope: StageScope) -> bool:
    """Change the draft of *scope* as *instruction* says. False: it is none of these instructions."""
    apply = _INSTRUCTIONS.get(instruction.keyword)
    if apply is None:
        return False
    apply(instruction, scope.draft, scope.words(instruction))
    return True


def env_pairs(instruction: Instruction, words: Words) -> list[tuple[str, str]]:
    """(name, value) of ENV and LABEL, all filled in with what held before the instruction."""
    return [(words.one(name), words.one(value)) for name, value in instruction.pairs()]


def join_workdir(current: str, path: str) -> str:
    """WORKDIR *path* after *current*."""
    return posixpath.normpath(posixpath.join("/", current, path)).replace("//", "/")


def _label(instruction: Instruction, draft: ImageDraft, words: Words) -> None:
    draft.labels |= dict(env_pairs(instruction, words))


def _user(instruction: Instruction, draft: ImageDraft, words: Words) -> None:
    draft.user = words.one(instruction.words[0])
    if not draft.user:
        raise ConfigError(f"`{instruction.words[0]}` of USER is empty", origin=instruction.origin)


def _command(instruction: Instruction, draft: ImageDraft, _words: Words) -> None:
    draft.command = _command_words(instruction, draft)
    draft.command_is_own = True


def _entrypoint(instruction: Instruction, draft: ImageDraft, _words: Words) -> None:
    draft.entrypoint = _command_words(instruction, draft)
    if not draft.command_is_own:
        draft.command = ()


def _command_words(instruction: Instruction, draft: ImageDraft) -> tuple[str, ...]:
    return draft.in_shell(instruction.words[0]) if instruction.form == "shell" else instruction.words


def _shell(instruction: Instruction, draft: ImageDraft, _words: Words) -> None:
    draft.shell = instruction.words


def _expose(instruction: Instruction, draft: ImageDraft, words: Words) -> None:
    for word in instruction.words:
        for text in words.many(word):
            draft.exposed_ports |= dict.fromkeys(_ports(text, instruction))


def _ports(text: str, instruction: Instruction) -> list[str]:
    # `[IP:]HOST:CONTAINER` says what an image cannot: Docker keeps the container's port of it.
    found = _PORT.fullmatch(text.rpartition(":")[2])
    first, last = (int(found[1]), int(found[2] or found[1])) if found is not None else (0, -1)
    protocol = (found[3] or "tcp").lower() if found is not None else ""
    if not first <= last <= _MOST_PORTS or protocol not in _PROTOCOLS:
        hint = "as `8080`, `53/udp` or `8000-8010`"
        raise ConfigError(f"`{text}` of EXPOSE is not a port", origin=instruction.origin, hint=hint)
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _volume(instruction: Instruction, draft: ImageDraft, words: Words) -> None:
    for word in instruction.words:
        path = words.one(word)
        if not path:
            raise ConfigError("a path of VOLUME is empty", origin=instruction.origin)
        draft.volumes[path] = None


def _stop_signal(instruction: Instruction, draft: ImageDraft, words: Words) -> None:
    text = words.one(instruction.words[0])
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    known = name in signal.Signals.__members__ or re.fullmatch(r"SIGRTM(IN(\+\d+)?|AX(-\d+)?)", name)
    if not known and not (text.isdecimal() and 0 < int(text) <= signal.NSIG):
        raise ConfigError(f"`{text}` is not a signal", origin=instruction.origin, hint="as `SIGTERM` or `15`")
    draft.stop_signal = text


HEALTHCHECK_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
"""Flag of HEALTHCHECK → its key in an image's configuration."""


def _healthcheck(instruction: Instruction, draft: ImageDraft, _words: Words) -> None:
    if instruction.words == ("NONE",):
        draft.healthcheck = {"Test": ["NONE"]}
        return
    _, *command = instruction.words
    # A shell command stays one text: whoever runs it takes the image's shell.
    kind = "CMD-SHELL" if instruction.form == "shell" else "CMD"
    check: dict[str, Any] = {"Test": [kind, *command]}
    for flag, key in HEALTHCHECK_TIMES.items():
        if duration := nanoseconds(instruction.flag(flag) or "0"):
            check[key] = duration
    if retries := int(instruction.flag("retries") or 0):
        check["Retries"] = retries
    draft.healthcheck = check


def _onbuild(instruction: Instruction, draft: ImageDraft, _words: Words) -> None:
    draft.onbuild += instruction.words


def _maintainer(instruction: Instruction, draft: ImageDraft, _words: Words) -> None:
    # The `author` of an image is out of use as well; the parser has said so.
    draft.labels["maintainer"] = instruction.words[0]


_INSTRUCTIONS: dict[str, Callable[[Instruction, ImageDraft, Words], None]] = {
    "LABEL": _label,
    "USER": _user,
    "CMD": _command,
    "ENTRYPOINT": _entrypoint,
    "SHELL": _shell,
    "EXPOSE": _expose,
    "VOLUME": _volume,
    "STOPSIGNAL": _stop_signal,
    "HEALTHCHECK": _healthcheck,
    "ONBUILD": _onbuild,
    "MAINTAINER": _maintainer,
}
