"""The configuration of an image as instructions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher.plan.dockerfile_export.quoting import Unwritable, array, bare, value
from runtime.build.plan import ImageConfig


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
    flags = [
        f"--{flag}={_duration(check[key])}"
        for flag, key in (
            ("interval", "Interval"),
            ("timeout", "Timeout"),
            ("start-period", "StartPeriod"),
            ("start-interval", "StartInterval"),
        )
        if check.get(key)
    ]
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
