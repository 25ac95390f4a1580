"""`launch build experiment=NAME …`: the image only."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.timings import Timings


def main(arguments: Sequence[str]) -> int:
    timings = Timings()
    parser = args.Parser(
        "build", "Build the image of an experiment.", usage="experiment=NAME [KEY=VALUE ...] [--json] [--timings]"
    )
    args.add_experiment_options(parser)
    parser.add_argument("--json", action="store_true", help="image_digest, layers, built, cached, seconds as JSON on stdout")
    parser.add_argument("--timings", action="store_true", help="print the seconds of each phase")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing on stderr but errors")
    options, request = args.parse(parser, arguments)
    from launcher.cli.prepare import prepare_image

    prepared = prepare_image(request, timings, quiet=options.quiet or options.json)
    result = prepared.result
    built = sum(not step.cached for step in result.steps)
    if options.json:
        document = {
            "image_digest": str(result.image.digest),
            "layers": [
                {
                    "label": s.layer.label,
                    "diff_id": str(s.layer.diff_id),
                    "size_bytes": s.layer.size_bytes,
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
    if options.timings:
        render.say("\n".join(timings.lines()))
    return 0
