"""`launch build -f Dockerfile -t NAME CONTEXT`: for people who come from `docker build`, with its options."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli.arguments import Talk
from launcher.cli.command import Options
from launcher.errors import ConfigError, Origin
from runtime.build.builder import BuildResult, build
from runtime.errors import BadContent
from runtime.light_dataclasses import replace
from runtime.oci.reference import Remote, parse_reference
from runtime.state_dir import StateDir, state_dir
from runtime.store.store import Store

if TYPE_CHECKING:
    from launcher.plan.bases.dockerfile_image import DockerfileRequest

_STANDARD_INPUT = "-"


def is_dockerfile_build(options: Options) -> bool:
    """Whether a Dockerfile is to be built: an option of it is there, or a word that is no override."""
    asked = (options.file, options.tag, options.target, options.build_arg, options.secret, options.label, options.network)
    return (
        any(asked)
        or options.no_cache
        or options.pull
        or options.platform is not None
        or (bool(options.overrides) and not any("=" in word or word.startswith("~") for word in options.overrides))
    )


def build_dockerfile(options: Options, talk: Talk) -> BuildResult:
    """Build what *options* name. The image gets its tags, and keeps beside it what it was made from."""
    from launcher.cli.progress import build_progress
    from launcher.cli.render import warn
    from launcher.plan.bases.debian_record import debian_architecture
    from launcher.plan.bases.dockerfile_image import build_plan_of, build_sources, read_dockerfile
    from launcher.plan.bases.pinning import Pinning
    from launcher.plan.dockerfile.stages import check_platform
    from launcher.plan.images.recipe import attach_recipe

    request = _request(options)
    names = [_check_name(name) for name in options.tag]
    secrets = dict(read_secret(text, os.environ) for text in options.secret)
    if options.platform is not None:
        check_platform(
            options.platform, architecture=debian_architecture(), origin=Origin(override=f"--platform={options.platform}")
        )
    labels = dict(_split_pair(text, "--label") for text in options.label)
    state: StateDir = state_dir().ensure()
    translated = read_dockerfile(request, Pinning(state, os.environ, options.pull))
    for warning in () if talk is Talk.QUIET else translated.warnings:
        warn(warning)
    plan = build_plan_of(translated)
    plan = replace(plan, config=replace(plan.config, labels={**plan.config.labels, **labels}))
    store = Store(state.store)
    sources = build_sources(plan, state=state, environ=os.environ, secrets=secrets)
    if options.no_cache:
        sources = replace(sources, run_again=True)
    with build_progress(plan, talk) as observer:
        result = build(plan, store, sources=sources, observer=observer)
    for name in names:
        store.name_image(result.image, name)
    attach_recipe(result.image, store, build=plan)
    return result


def _request(options: Options) -> DockerfileRequest:
    from launcher.plan.bases.dockerfile_image import DockerfileRequest

    if len(options.overrides) != 1:
        given = "no context is given" if not options.overrides else f"{len(options.overrides)} contexts are given"
        raise ConfigError(given, hint="`launch build -t NAME .` takes the Dockerfile and its files from here")
    (context,) = options.overrides
    if "://" in context or context.startswith("git@"):
        hint = "give a directory of this machine; `-` reads the Dockerfile from standard input, and there are no files"
        raise ConfigError(f"the context `{context}` is not supported", hint=hint)
    if context == _STANDARD_INPUT:
        if options.file not in (None, _STANDARD_INPUT):
            raise ConfigError("the context `-` is a Dockerfile from standard input, and `-f` names another one")
        empty = state_dir().ensure().cache / "empty-context"
        empty.mkdir(exist_ok=True)
        file, context = _STANDARD_INPUT, str(empty)
    else:
        context = os.path.abspath(os.path.expanduser(context))
        file = options.file if options.file is not None else os.path.join(context, "Dockerfile")
    if file == _STANDARD_INPUT and sys.stdin is not None and sys.stdin.isatty():
        raise ConfigError("the Dockerfile comes from standard input, which is a terminal", hint="`launch build -f - . < FILE`")
    return DockerfileRequest(
        dockerfile=file if file == _STANDARD_INPUT else os.path.abspath(os.path.expanduser(file)),
        context=context,
        target=options.target,
        args=_build_args(options.build_arg, os.environ),
        network=options.network,
    )


def _build_args(given: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME` for what the environment says; one that it does not have is left out, as docker does."""
    made: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name:
            raise ConfigError(f"`--build-arg {text}` has no name", hint="as in `--build-arg VERSION=1.2`")
        if equals:
            made[name] = value
        elif name in environ:
            made[name] = environ[name]
    return made


def _split_pair(text: str, option: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name:
        raise ConfigError(f"`{option} {text}` has no name", hint=f"as in `{option} NAME=VALUE`")
    return name, value


def _check_name(name: str) -> str:
    try:
        parsed = parse_reference(name)
    except BadContent as error:
        raise ConfigError(f"`-t {name}`: {error.message}", hint=error.hint) from error
    if not isinstance(parsed, Remote) or parsed.digest is not None:
        raise ConfigError(f"`-t {name}` is no name for an image", hint="the form is `[HOST/]NAME[:TAG]`, in lower case")
    return name


def read_secret(text: str, environ: Mapping[str, str]) -> tuple[str, bytes]:
    """`id=ID,src=FILE`, `id=ID,env=NAME`, or `id=ID` alone: the variable of that name (buildx, "--secret")."""
    fields = dict(_split_pair(word, "--secret") for word in next(csv.reader([text]), []))
    known = {"id", "src", "source", "env", "type"}
    if unknown := sorted(fields.keys() - known):
        raise ConfigError(f"`--secret {text}` has no `{unknown[0]}`", hint="as in `--secret id=token,src=token.txt`")
    name = fields.get("id")
    if not name:
        raise ConfigError(f"`--secret {text}` has no `id`", hint="as in `--secret id=token,src=token.txt`")
    file = fields.get("src") or fields.get("source")
    variable = fields.get("env") or (None if file else name)
    if fields.get("type") == "env" and file is not None:
        file, variable = None, file
    if file is None:
        assert variable is not None
        if variable not in environ:
            hint = f"`export {variable}=…`, or `--secret id={name},src=FILE`"
            raise ConfigError(f"secret `{name}`: there is no variable `{variable}` in the environment", hint=hint)
        return name, os.fsencode(environ[variable])
    try:
        return name, Path(file).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"secret `{name}`: cannot read `{file}`: {error.strerror}") from error
