"""`launch build experiment=NAME …`: the image only; `launch build -t NAME CONTEXT`: that of a Dockerfile."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.dockerfile import build as dockerfile_build
from launcher.cli.dockerfile import flags as docker_flags
from launcher.cli.timings import Timings
from launcher.errors import ConfigError
from runtime.build.builder import BuildResult
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    timings = Timings()
    parser = args.Parser(
        "build",
        "Build the image of an experiment, or that of a Dockerfile.",
        usage="experiment=NAME [KEY=VALUE ...] [--json] [--timings]\n       launch build [-f FILE] [-t NAME] [OPTIONS] CONTEXT",
    )
    args.add_experiment_options(parser)
    dockerfile_build.add_options(parser)
    docker_flags.add_docker_flags(parser)
    parser.add_argument("--json", action="store_true", help="image_digest, layers, built, cached, seconds as JSON on stdout")
    parser.add_argument("--timings", action="store_true", help="print the seconds of each phase")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing on stderr but errors")
    arguments = docker_flags.plain_switches(arguments)
    options = parser.parse_intermixed_args(arguments)
    quiet = options.quiet or options.json or options.progress == "quiet"
    _check_outputs(options)
    if dockerfile_build.is_meant(options):
        args.apply_debug(options)
        with timings.phase("build"):
            result = dockerfile_build.build_dockerfile(options, quiet=quiet)
    else:
        options, request = args.parse(parser, arguments)
        from launcher.cli.prepare import prepare_image

        result = prepare_image(request, timings, quiet=quiet).result
    if options.iidfile is not None:
        docker_flags.write_iidfile(options.iidfile, result.image.digest)
    pushed = _push(result.image, options.tag, quiet=quiet) if options.push else []
    _print_result(result, pushed, as_json=options.json)
    if options.timings:
        render.say("\n".join(timings.lines()))
    return 0


def _check_outputs(options: argparse.Namespace) -> None:
    """Before anything is built for them."""
    if options.iidfile is not None and not options.iidfile.absolute().parent.is_dir():
        raise ConfigError(f"`--iidfile {options.iidfile}`: there is no directory `{options.iidfile.parent}`")
    if options.push and not options.tag:
        hint = "`-t REGISTRY/NAME:TAG` says where it goes; an experiment's image: `launch push experiment=NAME REGISTRY/NAME:TAG`"
        raise ConfigError("`--push` needs the name of the image", hint=hint)


def _push(image: Image, names: Sequence[str], *, quiet: bool) -> list[str]:
    """`NAME@DIGEST` of each, as the registry has it."""
    from launcher.cli.push.send import push_target, push_to
    from runtime.registry.known_places import place_name

    store = Store(state_dir().store)
    pushed = (push_to(image, store, push_target(name), compression=None, quiet=quiet) for name in names)
    return [f"{place_name(one.reference)}@{one.digest}" for one in pushed]


def _print_result(result: BuildResult, pushed: Sequence[str], *, as_json: bool) -> None:
    built = sum(not step.cached for step in result.steps)
    if as_json:
        document = {
            "image_digest": str(result.image.digest),
            "layers": [
                {
                    "label": s.layer.label,
                    "diff_id": str(s.layer.diff_id),
                    "size_bytes": sum(layer.size_bytes for layer in s.layers),
                    "cached": s.cached,
                    "seconds": s.seconds,
                }
                for s in result.steps
            ],
            "built": built,
            "cached": len(result.steps) - built,
            "seconds": result.seconds,
            "pushed": list(pushed),
        }
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        from runtime.build.step_label import counted

        size = render.size(sum(layer.size_bytes for layer in result.image.layers))
        print(f"{result.image.digest}  {counted(len(result.image.layers), 'layer')}  {size}")
        for name in pushed:
            print(name)
