"""What the last words of a failed program tell about its image, its network or its files, as advice."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.repository.distributions import DISTRIBUTIONS
from launcher.tracking.record.run_record import RunRecord

_TAIL_BYTES = 1 << 14
_NO_MODULE = re.compile(r"^ModuleNotFoundError: No module named '([\w.]+)'", re.MULTILINE)
_NO_LIBRARY = re.compile(r"(lib[\w.+-]+?)\.so(?:\.(\d+))?[\d.]*: cannot open shared object file")
_NO_COMMAND = re.compile(
    r"FileNotFoundError: \[Errno 2\] No such file or directory: '(git|gcc|g\+\+|ffmpeg|curl|wget|make|nvcc|ninja)'"
)
_NO_NETWORK = re.compile(
    r"Temporary failure in name resolution|Name or service not known|Could not resolve host|Failed to resolve '|"
    r"Network is unreachable|couldn't connect to 'https?:|Max retries exceeded with url"
)
"""The resolver's words (gai_strerror(3)), curl's, and what libraries make of them."""
_NO_FILE = re.compile(r"No such file or directory: b?['\"]([^'\"\n]+)['\"]|can't open file '([^'\n]+)'")

_PACKAGES = {"gcc": "build-essential", "g++": "build-essential", "nvcc": "nvidia-cuda-toolkit", "ninja": "ninja-build"}


def hints_for(record: RunRecord) -> list[str]:
    """For a program that failed by itself for want of something that the experiment can give it."""
    if record.reason != "program":
        return []
    try:
        plan = json.loads(record.run_dir.plan.read_bytes())["plan"]
        tail = _tail(record.run_dir.stderr)
    except (OSError, KeyError, ValueError):
        return []
    if lacks := image_hint(tail, code_root=plan["code"]["root"]):
        return [lacks]
    return [*_network_hints(plan["spec"], tail), *_file_hints(plan, tail)]


def image_hint(tail: str, *, code_root: str) -> str | None:
    """What the image lacks by what stands last in *tail*, the end of a program's stderr."""
    found = [match for pattern in (_NO_MODULE, _NO_LIBRARY, _NO_COMMAND) if (match := _last(pattern, tail))]
    if not found:
        return None
    last = max(found, key=lambda match: match.start())
    if last.re is _NO_MODULE:
        return _module_hint(last[1], code_root)
    if last.re is _NO_LIBRARY:
        return _library_hint(last[1], last[2])
    return f"the image has no `{last[1]}`: `image.apt: [{_PACKAGES.get(last[1], last[1])}]`"


def _last(pattern: re.Pattern[str], tail: str) -> re.Match[str] | None:
    return max(pattern.finditer(tail), key=re.Match[str].start, default=None)


def _module_hint(module: str, code_root: str) -> str:
    top = module.partition(".")[0]
    own = Path(code_root, "src", top)
    if own.is_dir() or own.with_suffix(".py").is_file():
        return f"`{top}` is in the code's `src`: `image.requirements: [-e .]` installs it, `env: {{PYTHONPATH: src}}` finds it"
    wanted = DISTRIBUTIONS.get(module) or DISTRIBUTIONS.get(top, top)
    wanted = shlex.quote(wanted)
    return f"the image has no module `{module}`: `{wanted}` goes into `image.requirements`; `--with {wanted}` tries it"


def _library_hint(name: str, number: str | None) -> str:
    """Debian calls the package of `libxcb.so.1` libxcb1, and that of `libglib-2.0.so.0` libglib2.0-0 (Debian Policy, 8.1)."""
    library = f"{name}.so{f'.{number}' if number else ''}"
    if re.match(r"lib(cuda|nvidia|nvrtc|cudart|cublas|cudnn)", name):
        return f"the image has no `{library}`: it comes with the GPU's driver (`gpus=1`) or with a CUDA image as `image.base`"
    stem = re.sub(r"-(?=\d)", "", name.lower()).replace("_", "-")
    package = f"{stem}{'-' if stem[-1].isdigit() and number else ''}{number or ''}"
    return f"the image has no `{library}`: `image.apt: [{package}]`, where Debian's package has the usual name"


def _network_hints(spec: dict[str, Any], tail: str) -> Iterator[str]:
    if spec["network"] != "none" or not _NO_NETWORK.search(tail):
        return
    from launcher.repository.downloads import services_in

    yield "the program asked for an address, and the run has no network: `network=bridge` gives it one, `pasta` and `host` do too"
    for service in services_in(tail):
        if service.cache is not None and service.cache[1] not in spec["caches"].values():
            name, place = service.cache
            yield f"`caches: {{{name}: {place}}}` keeps what {service.name} sends from run to run"
        if service.secret is not None and service.secret not in spec["secrets"]:
            yield f"`secrets: [{service.secret}]` is what {service.name} wants for {service.needed_for}"


def _file_hints(plan: dict[str, Any], tail: str) -> Iterator[str]:
    """A file that is here, beside the code, and not in the image."""
    from launcher.plan.code.left_out import include_hint

    code, workdir = plan["code"], plan["build"]["config"]["workdir"]
    taken = {path for path, _, _ in code["files"]}
    for found in reversed(list(_NO_FILE.finditer(tail))):
        named = os.path.relpath(os.path.join(workdir, found[1] or found[2]), workdir)
        here = os.path.join(code["root"], named)
        if not named.startswith("..") and named not in taken and os.path.exists(here):
            yield f"`{named}` is in `{code['root']}`, but git or `code` leaves it out of the image: {include_hint(named)}"
            return


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return file.read().decode(errors="replace")
