"""The base for a Python that is asked for: `image.python`, or that of conda's environment.yml, where nobody named a base.

A Debian suite that has it comes first, since it needs no registry; then the image `python:3.12-slim`, wherever the machine's own
settings have that registry; then uv's Python on Debian's newest suite, where the registry can't be had (`pins.py`), and for as
long as a lock or the record of that holds. Nobody is asked here.
"""

from __future__ import annotations

from pathlib import Path

from launcher.config.spec import ExperimentSpec, Image
from launcher.errors import ConfigError, LaunchError
from launcher.plan.bases.debian_suites import DEBIAN_SUITES
from launcher.plan.bases.pinning import Pinning
from launcher.plan.origins import Where, asks_for_base
from runtime.build.plan import minor_of
from runtime.light_dataclasses import replace

_OURS = "bootstrap:"


def with_fitting_base(spec: ExperimentSpec, where: Where, *, chosen: Image | None = None) -> ExperimentSpec:
    """*spec* with the Python that its requirements name, and with a base that has the Python, unless one is asked for.

    *chosen*: the image of an earlier choice, which holds for the same requirements, whatever became of their file since.
    """
    image = spec.image
    if image.python is None:
        is_known = chosen is not None and chosen.requirements == image.requirements
        python = chosen.python if chosen is not None and is_known else _python_of_requirements(image)
        image = replace(image, python=python)
    if image.python is not None and image.dockerfile is None and image.base.startswith(_OURS) and not asks_for_base(where):
        known_base = chosen is not None and chosen.python == image.python and chosen.base.startswith(_OURS)
        image = replace(image, base=chosen.base if chosen is not None and known_base else _base_with(image.python))
    return spec if image == spec.image else replace(spec, image=image)


def _python_of_requirements(image: Image) -> str | None:
    if not isinstance(image.requirements, str) or not image.requirements.endswith((".yml", ".yaml")):
        return None
    from launcher.plan.requirements.formats.conda_environment import read_environment

    path = Path(image.requirements)
    try:
        return read_environment(path, path.read_text(encoding="utf-8")).python
    except (OSError, UnicodeDecodeError, ConfigError):
        return None  # what is wrong with it is told by who resolves it


def _base_with(python: str) -> str:
    for suite, has in DEBIAN_SUITES.items():
        if has.has_python(python):
            return f"{_OURS}debian/{suite}"
    return _registry_image(python)


def _registry_image(python: str) -> str:
    return f"python:{python}-slim"


def is_chosen_image(image: Image, where: Where) -> bool:
    """Whether the base of *image* is a registry's that was chosen here."""
    return image.python is not None and image.base == _registry_image(image.python) and not asks_for_base(where)


def with_managed_python(image: Image) -> Image:
    """*image* with uv's Python on the newest Debian suite."""
    return replace(image, base=f"{_OURS}debian/{next(iter(DEBIAN_SUITES))}")


def remembered_choice(image: Image, pinning: Pinning, *, base_lock: Path | None) -> Image:
    """*image*, whose base was chosen here, with the base that it has had since a lock was written or the registry could not be
    had."""
    from launcher.plan.bases.base_lock_file import read_locked_python
    from launcher.plan.bases.imported_base import is_pinned
    from launcher.plan.bases.managed_python import recorded_python

    assert image.python is not None
    if pinning.refresh:
        return image
    locked = read_locked_python(base_lock, wanted=image.python)
    if locked is not None:
        return replace(image, base=locked.base)
    is_known = is_pinned(image.base, state=pinning.state) or recorded_python(image.python, pinning) is None
    return image if is_known else with_managed_python(image)


def unreachable_base(error: LaunchError, managed: LaunchError, image: Image, where: Where) -> LaunchError:
    """*error*, raised for the registry's image with `image.python`, and *managed*, raised for uv's: say for what they were asked,
    and what would do."""
    assert image.python is not None
    have = " and ".join(f"{suite.minor} (`image.python={suite.minor}`)" for suite in DEBIAN_SUITES.values())
    hint = (
        f"Python {have} need no registry; else `image.base` takes an image with Python {minor_of(image.python)}: of another "
        "registry, in a file (`oci:DIR`, `docker-archive:FILE`), or of the store (`launch load`, `launch build -t`)"
    )
    hint = "\n".join(filter(None, (hint, error.hint, managed.hint)))
    origin = where("image.python") or where("image.requirements")
    message = f"no base with Python {image.python} can be had: {error.message}; {managed.message}"
    return type(error)(message, hint=hint, origin=origin)
