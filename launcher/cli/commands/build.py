"""`launch build experiment=NAME …`: the image only; `launch build -t NAME CONTEXT`: that of a Dockerfile."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import dockerfile_build, render
from launcher.cli.timings import Timings
from runtime.build.builder import BuildResult


def main(arguments: Sequence[str]) -> int:
    timings = Timings()
    parser = args.Parser(
        "build",
        "Build the image of an experiment, or that of a Dockerfile.",
        usage="experiment=NAME [KEY=VALUE ...] [--json] [--timings]\n       launch build [-f FILE] [-t NAME] [OPTIONS] CONTEXT",
    )
    args.add_experiment_options(parser)
    dockerfile_build.add_options(parser)
    parser.add_argument("--json", action="store_true", help="image_digest, layers, built, cached, seconds as JSON on stdout")
    parser.add_argument("--timings", action="store_true", help="print the seconds of each phase")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing on stderr but errors")
    options = parser.parse_intermixed_args(arguments)
    if dockerfile_build.is_meant(options):
        args.apply_debug(options)
        with timings.phase("build"):
            result = dockerfile_build.build_dockerfile(options, quiet=options.quiet or options.json)
    else:
        options, request = args.parse(parser, arguments)
        from launcher.cli.prepare import prepare_image

        result = prepare_image(request, timings, quiet=options.quiet or options.json).result
    _print_result(result, as_json=options.json)
    if options.timings:
        render.say("\n".join(timings.lines()))
    return 0


def _print_result(result: BuildResult, *, as_json: bool) -> None:
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
        }
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        from runtime.build.step_label import counted

        size = render.size(sum(layer.size_bytes for layer in result.image.layers))
        print(f"{result.image.digest}  {counted(len(result.image.layers), 'layer')}  {size}")
