"""The command that a run starts: the experiment's, or that of the image that its Dockerfile makes.

As `docker run` has it: without a command ENTRYPOINT and CMD of the image; `-- WORDS` take the place of CMD and keep ENTRYPOINT.
A `command` of the configuration is the whole command, as it is without a Dockerfile.
"""

from __future__ import annotations

from launcher.config.spec import ExperimentSpec, to_json
from launcher.errors import ConfigError
from launcher.plan.command import fill
from launcher.plan.refusals import Where
from runtime.build.plan import ImageConfig

_TYPED = "-- "


def own_command(spec: ExperimentSpec, where: Where) -> tuple[str, ...] | None:
    """The experiment's command with every word filled in; None: it has none of its own."""
    return fill(spec.command, lambda: to_json(spec), origin=where("command")) if spec.command else None


def program_argv(words: tuple[str, ...] | None, spec: ExperimentSpec, config: ImageConfig, where: Where) -> tuple[str, ...]:
    """The words to run, in an image with *config*. *words*: the experiment's `own_command`."""
    if words is not None:
        origin = where("command")
        typed = origin is not None and origin.override is not None and origin.override.startswith(_TYPED)
        return (*config.entrypoint, *words) if typed and spec.image.dockerfile is not None else words
    argv = (*config.entrypoint, *config.command)
    if not argv:
        hint = "add an ENTRYPOINT or a CMD to the Dockerfile, or `command` to the experiment"
        raise ConfigError(f"the image of `{spec.name}` has no command", origin=where("image.dockerfile"), hint=hint)
    return argv
