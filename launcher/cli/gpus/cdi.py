"""`launch gpus cdi`: describe this machine's NVIDIA GPUs for other container runtimes, in a CDI specification."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from launcher.cli import render
from launcher.cli.command import Options
from launcher.errors import LaunchError
from runtime.whole_file import replace_file


def describe_gpus(options: Options) -> int:
    as_json = options.json or (options.output is not None and options.output.suffix == ".json")
    text = _text(options.capabilities, as_json=as_json, hook=None if options.no_hooks else shutil.which("nvidia-cdi-hook"))
    if options.output is None:
        sys.stdout.write(text)
        return 0
    _write(options.output, text)
    render.say(f"wrote {options.output}: it is for this driver, so write it again after an upgrade or a change of MIG slices")
    return 0


def _text(capabilities: str | None, *, as_json: bool, hook: str | None) -> str:
    from runtime.gpu.cdi.generate import EVERYTHING, nvidia_specification
    from runtime.gpu.cdi.serialize import as_json as json_text
    from runtime.gpu.cdi.serialize import as_yaml
    from runtime.gpu.inventory import read_gpus
    from runtime.gpu.nvidia import driver_files

    wanted = EVERYTHING if capabilities is None else driver_files.capabilities(capabilities)
    spec, notes = nvidia_specification(read_gpus(), hook=hook, capabilities=wanted)
    for note in notes:
        render.warn(note)
    return json_text(spec) if as_json else as_yaml(spec)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text, mode=0o666, sync=True)
    except OSError as error:
        raise LaunchError(f"`{path}` cannot be written: {error.strerror}", hint="`-o FILE` names another place") from error
