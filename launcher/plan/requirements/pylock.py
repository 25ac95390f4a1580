"""Choose the one file of each package for one Python and platform, out of a pylock.toml document (PEP 751).

What uv resolves lists every file of a version; an image takes exactly one, as `packaging.pylock` selects it: the file whose tag
comes first, and a source distribution only where no wheel fits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

from packaging.markers import Environment
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from launcher.errors import ConfigError, LaunchError
from launcher.plan.launch_plan import LockedWheel
from launcher.plan.requirements.other_pythons import no_wheel, python_with_wheel, wrong_python
from launcher.plan.requirements.target import Target, marker_environment, supported_tags, taken_by
from runtime.http.proxies import without_user_info
from runtime.light_dataclasses import replace

KEEP_ADDRESS: Mapping[str, Any] = {"launch": {"keep_address": True}}
"""`tool` of a package in a document whose file would not be found by its name when it is downloaded."""


_HEAD = {"lock-version": "1.0", "created-by": "unknown"}
"""What PEP 751 requires and a file that a person wrote may lack."""


def choose_files(
    document: Mapping[str, Any], target: Target, *, torch: str | None = None, without: Container[str] = ()
) -> dict[LockedWheel, str]:
    """One file for each package of *document* that *target* needs, in the document's order → its URL, without user and password.

    *without*: names of wheels that are passed over. Raises ConfigError for a package that has no file which *target* takes, and
    for one whose content nothing pins.
    """
    chosen = {}
    try:
        left_out = {
            canonicalize_name(package["name"])
            for package in document.get("packages", ())
            if any(file_name(file) in without for file in package.get("wheels", ()))
        }
        packages = [_usable(package, without) for package in document.get("packages", ())]
        lock = Pylock.from_dict({**_HEAD, **document, "packages": packages})
        # None of what uv marks for extras and groups is asked for.
        environment = cast(Environment, marker_environment(target))
        for package, file in lock.select(environment=environment, tags=supported_tags(target), dependency_groups=()):
            # By name and version uv would find the file that is passed over; by address it finds this one.
            direct = isinstance(file, PackageArchive) or package.tool == KEEP_ADDRESS or package.name in left_out
            wheel, address = _lock(package, file, direct=direct, torch=torch)
            if wheel.sdist and package.wheels:
                wheel = replace(wheel, other_python=python_with_wheel((each.filename for each in package.wheels), target))
            chosen[wheel] = address
    except PylockSelectError as error:
        raise _nothing_fits(error, document, target) from error
    except (PylockValidationError, LookupError, TypeError, ValueError, AttributeError) as error:
        # What we look at before `packaging` does is anything.
        raise ConfigError(f"not a pylock.toml as PEP 751 has it: {error}") from error
    return chosen


def _nothing_fits(error: PylockSelectError, document: Mapping[str, Any], target: Target) -> ConfigError:
    """What `packaging` says in the words of who made the lock: it is for other Pythons, or a package has no file for this one."""
    wanted = document.get("requires-python")
    if wanted and not SpecifierSet(wanted).contains(target.python, prereleases=True):
        return wrong_python("the lock", str(wanted), target, allowed=[SpecifierSet(wanted)])
    for package in document.get("packages", ()):
        files = [file_name(wheel) for wheel in package.get("wheels", ())]
        is_meant = f"No wheel found matching the provided tags for package '{package['name']}'" in str(error)
        if is_meant and (other := python_with_wheel(files, target)):
            return no_wheel(package["name"], str(package.get("version")), target.python, other)
    libc = f"{target.libc} {target.libc_version[0]}.{target.libc_version[1]}"
    return ConfigError(f"no file matches Python {target.python} on {target.architecture} ({libc}): {error}")


def _usable(package: Mapping[str, Any], without: Container[str]) -> dict[str, Any]:
    """*package* with the files that may be taken. Where the index gives no hashes uv computes the one of the file that it would
    take."""
    files = [file for file in package.get("wheels", ()) if file_name(file) not in without]
    if "archive" in package and file_name(package["archive"]) in without:
        raise ConfigError(f"requirement `{package['name']}` names this one file")
    wheels = [file for file in files if file.get("hashes", {}).get("sha256")] or [file for file in files if file.get("hashes")]
    if files and not wheels:
        raise LaunchError(f"the index gives no sha256 for `{file_name(files[0])}`, so it can't be pinned")
    sdist = package.get("sdist")
    if wheels and sdist is not None and not (sdist.get("hashes") and file_name(sdist).endswith((".tar.gz", ".zip"))):
        sdist = None  # of a form that is out of use (PEP 625): no reason to refuse the wheels beside it
    if package.get("wheels") and not wheels and sdist is None:
        raise ConfigError(f"`{package['name']}=={package.get('version')}` has no other file")
    others = {name: value for name, value in package.items() if name not in ("wheels", "sdist")}
    return {**others, **({"wheels": wheels} if wheels else {}), **({} if sdist is None else {"sdist": sdist})}


def has_wheel(document: Mapping[str, Any], name: str, target: Target, *, without: Container[str]) -> bool:
    """Whether *document* has a wheel of *name* for *target* that is not in *without*."""
    packages = [package for package in document.get("packages", ()) if canonicalize_name(package["name"]) == name]
    files = [file_name(wheel) for package in packages for wheel in package.get("wheels", ())]
    return any(map(taken_by(target), (file for file in files if file not in without)))


def _lock(package: Package, file: object, *, direct: bool, torch: str | None) -> tuple[LockedWheel, str]:
    if isinstance(file, PackageVcs | PackageDirectory):
        return _tree(package, file), ""
    assert isinstance(file, PackageArchive | PackageSdist | PackageWheel)
    place = PurePosixPath(file.path or "")
    # What a requirement `name @ file:///…` becomes is an absolute path.
    url = str(file.url or (place.as_uri() if place.is_absolute() else ""))
    filename = unquote(PurePosixPath(urlsplit(url).path).name) if isinstance(file, PackageArchive) else file.filename
    sha256 = file.hashes.get("sha256")
    if sha256 is None:
        raise LaunchError(f"the index gives no sha256 for `{filename}`, so it can't be pinned")
    wheel = LockedWheel(
        name=package.name,
        version=str(package.version or _version_in(filename)),
        sha256=sha256.lower(),
        filename=filename,
        index=_index_name(url, torch),
        sdist=not filename.endswith(".whl"),
        size=file.size,
        url=url if direct else None,
    )
    return wheel, without_user_info(url)


def _tree(package: Package, tree: PackageVcs | PackageDirectory) -> LockedWheel:
    """What `source_trees.py` pins; in a lock of ours it is pinned."""
    ours = (package.tool or {}).get("launch", {})
    if isinstance(tree, PackageDirectory):
        path = os.path.normpath(os.path.join(tree.path, tree.subdirectory or "."))
        return LockedWheel.of_code(package.name, ("-e " if tree.editable else "") + ours.get("directory", f"file:{quote(path)}"))
    below = f"#subdirectory={tree.subdirectory}" if tree.subdirectory else ""
    url = f"git+{tree.url or tree.path}@{tree.commit_id}{below}"
    return LockedWheel.of_git(package.name, ours.get("version") or str(package.version or ""), url, ours.get("tree", ""))


def with_absolute_paths(document: dict[str, Any], directory: Path) -> dict[str, Any]:
    """*document*, of a file in *directory*, with absolute paths of directories and archives: PEP 751 has them relative to the
    file."""
    for package in document.get("packages", ()):
        for place in (package.get("directory"), package.get("archive")):
            if place is not None and place.get("path"):
                place["path"] = os.path.normpath(directory / place["path"])
    return document


def file_name(file: Mapping[str, Any]) -> str:
    """`name`, or the last part of `path` or `url` (PEP 751, `packages.wheels.name`)."""
    written: Sequence[str] = [file[key] for key in ("name", "path", "url") if file.get(key)]
    return unquote(PurePosixPath(urlsplit(written[0]).path).name)


def _version_in(filename: str) -> str:
    """The version of a file that was named by address; an sdist's is what follows the last dash."""
    if filename.endswith(".whl"):
        return filename.split("-")[1]
    return re.sub(r"\.(tar\.gz|zip|tgz|tar\.bz2)$", "", filename).rpartition("-")[2]


def _index_name(url: str, torch: str | None) -> str | None:
    """A name for where a file came from that holds no address."""
    if url.startswith("file:"):
        return "find-links"
    if torch is not None and f"/{torch}/" in url:
        return f"pytorch-{torch}"
    return None
