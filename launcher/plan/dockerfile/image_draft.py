"""The configuration of a stage's image while its instructions are read: what comes from the base, then what each one changes."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from runtime.build.plan import ImageConfig

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
        listed = config.get("Env") or [f"{name}={value}" for name, value in env.items()]
        variables = dict(entry.partition("=")[::2] for entry in listed)
        variables.setdefault("PATH", DEFAULT_PATH)
        return cls(
            env=variables,
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
        return ImageConfig(
            env=dict(self.env),
            workdir=self.workdir,
            entrypoint=self.entrypoint,
            command=self.command,
            labels=dict(self.labels),
            architecture=architecture,
            user=self.user,
            exposed_ports=tuple(sorted(self.exposed_ports)),
            volumes=tuple(sorted(self.volumes)),
            stop_signal=self.stop_signal,
            shell=self.shell,
            healthcheck=self.healthcheck,
            onbuild=self.onbuild,
        )
