"""COPY and ADD: from sources in the context, in another stage or image, at an address or in the Dockerfile itself to steps.

One step an instruction, except where sources of several kinds stand in one (here-documents beside paths; archives, which ADD
unpacks, beside directories, which it does not).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.context import ChosenFiles, CopiedFile
from launcher.plan.dockerfile.dockerignore import Ignore
from launcher.plan.dockerfile.document import Instruction
from launcher.plan.dockerfile.expand import expand_text
from launcher.plan.dockerfile.image_draft import StageScope
from launcher.plan.dockerfile.logical_lines import heredoc_word
from launcher.plan.dockerfile.variables import Words
from runtime.build.plan import ContextFiles, CopyFiles, FetchedFile, InlineFiles, StageFiles
from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest

_OCTAL = re.compile(r"0?o?[0-7]{1,5}")
_MOST_MODE = 0o7777
_FETCHED_MODE = 0o600
_GIT = re.compile(r"(?:git@|git://|ssh://)|https?://[^#?]+\.git(?:[#?].*)?$", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)

Source = ContextFiles | StageFiles | FetchedFile | InlineFiles


@dataclass(frozen=True, slots=True)
class _Copy:
    """COPY or ADD with its variables filled in."""

    instruction: Instruction
    sources: tuple[str, ...]
    target: str
    exclude: Ignore | None
    mode: int | None
    owner: str

    @property
    def origin(self) -> Origin:
        return self.instruction.origin

    @property
    def adds(self) -> bool:
        return self.instruction.keyword == "ADD"

    @property
    def is_several(self) -> bool:
        """Whether several sources have a target that need not be a directory, as it is written."""
        return len(self.sources) > 1 and not self.target.endswith("/")


def copy_steps(instruction: Instruction, scope: StageScope, *, label: str) -> list[CopyFiles]:
    """The steps of COPY or ADD; none when its patterns fit no file, which BuildKit lets pass."""
    written = _fill_in(instruction, scope)
    _refuse_what_does_not_fit(written)

    def step(
        source: Source, *, unpack: bool = False, mode: int | None = written.mode, needs_directory: bool = written.is_several
    ) -> CopyFiles:
        return CopyFiles(
            source=source,
            target=written.target,
            owner=written.owner,
            mode=mode,
            unpack=unpack,
            link=instruction.has_flag("link"),
            label=label,
            needs_directory=needs_directory,
        )

    inline = [word for word in written.sources if instruction.form != "exec" and heredoc_word(word) is not None]
    addresses = [word for word in written.sources if written.adds and _ADDRESS.match(word)]
    paths = [word for word in written.sources if word not in inline and word not in addresses]
    steps: list[CopyFiles] = []
    if paths and instruction.flag("from") is not None:
        steps.append(step(_stage_files(written, paths, scope), needs_directory=False))  # the build knows which are files
    elif paths:
        steps += _context_steps(written, paths, scope, step)
    for address in addresses:
        mode = written.mode if written.mode is not None else _FETCHED_MODE
        steps.append(step(_fetched_file(address, written), unpack=instruction.has_flag("unpack"), mode=mode))
    if inline:
        steps.append(step(_inline(written, scope.variables)))
    return steps


def _fill_in(instruction: Instruction, scope: StageScope) -> _Copy:
    words = scope.words(instruction)
    *sources, target = instruction.words
    exclude = [words.one(pattern) for pattern in instruction.flag_values("exclude")]
    return _Copy(
        instruction,
        tuple(word if heredoc_word(word) and instruction.form != "exec" else words.one(word) for word in sources),
        join_target(scope.draft.workdir, words.one(target)),
        Ignore.of(exclude, origin=instruction.origin) if exclude else None,
        _mode(instruction, words),
        words.one(instruction.flag("chown") or ""),
    )


def join_target(workdir: str, target: str) -> str:
    """*target* from the working directory, a `/` at its end kept: it says that it is a directory."""
    joined = posixpath.normpath(posixpath.join("/", workdir, target)).replace("//", "/")
    is_directory = target.endswith(("/", "/.", "/..")) or target in ("", ".", "..")
    return f"{joined.rstrip('/')}/" if is_directory else joined


def _mode(instruction: Instruction, words: Words) -> int | None:
    text = words.one(instruction.flag("chmod") or "")
    if not text:
        return None
    mode = int(text.replace("o", ""), 8) if _OCTAL.fullmatch(text) else -1
    if not 0 <= mode <= _MOST_MODE:
        hint = "an octal number, as `--chmod=755`"
        raise ConfigError(f"`--chmod={text}` of {instruction.keyword} is not supported", origin=instruction.origin, hint=hint)
    return mode


def _refuse_what_does_not_fit(written: _Copy) -> None:
    keyword, origin = written.instruction.keyword, written.origin
    for source in written.sources:
        if not source:
            raise ConfigError(f"a source of {keyword} is empty", origin=origin, hint="does one of its variables have no value?")
        if _GIT.match(source) and written.adds:
            hint = "clone it beside the Dockerfile, or in a RUN at a commit that you name"
            raise ConfigError(f"ADD of a git repository is not supported: `{source}`", origin=origin, hint=hint)
        if not written.adds and (_ADDRESS.match(source) or _GIT.match(source)):
            hint = "`ADD --checksum=sha256:… ADDRESS TARGET` fetches a file"
            raise ConfigError(f"COPY takes no addresses: `{source}`", origin=origin, hint=hint)
    if written.instruction.has_flag("keep-git-dir"):
        raise ConfigError("`--keep-git-dir` is not supported, since ADD of a git repository is not", origin=origin)
    checksum = written.instruction.flag("checksum")
    if checksum is not None and (len(written.sources) > 1 or not _ADDRESS.match(written.sources[0])):
        raise ConfigError("`--checksum` goes with one source, which is an address", origin=origin)
    if written.is_several and written.instruction.has_flag("link"):  # which sees nothing of the layers below
        hint = f"end it with a slash: `{written.target}/`"
        raise ConfigError(f"{keyword} of several sources needs a directory as target", origin=origin, hint=hint)


# Another stage


def _stage_files(written: _Copy, paths: Sequence[str], scope: StageScope) -> StageFiles:
    instruction, origin = written.instruction, written.origin
    for flag in ("exclude", "parents"):
        if instruction.has_flag(flag):
            hint = f"copy to another directory in the stage, and that with `COPY --from` without `--{flag}`"
            raise ConfigError(f"`--{flag}` together with `--from` is not supported", origin=origin, hint=hint)
    name = instruction.flag("from") or ""
    if "$" in name:
        hint = "name the image or stage with `FROM … AS name`, whose line may hold variables"
        raise ConfigError("`--from` cannot hold variables", origin=origin, hint=hint)
    patterns = tuple(posixpath.normpath(f"/{path}").lstrip("/") for path in paths)
    return StageFiles(stage=scope.stage_number(name, instruction), patterns=patterns)


# The context


def _context_steps(written: _Copy, paths: Sequence[str], scope: StageScope, step: Callable[..., CopyFiles]) -> list[CopyFiles]:
    context, parents = scope.context, written.instruction.has_flag("parents")
    choose = context.choose_with_parents if parents else context.choose
    chosen: list[ChosenFiles] = []
    for path in paths:
        chosen += choose(path, exclude=written.exclude, origin=written.origin)
    if not chosen:
        # `COPY package.json yarn.lock* ./` is how people write that a file may be missing: only nothing at all is a surprise.
        named = " or ".join(f"`{path}`" for path in paths)
        scope.warn(f"no file matches {named}, so {written.instruction.keyword} copies nothing", written.origin)
    several = written.is_several or (len(chosen) > 1 and not written.target.endswith("/"))
    said = any(name == "unpack" for name, _ in written.instruction.flags)
    unpack = written.instruction.has_flag("unpack") if said else written.adds
    single = len(chosen) == 1 and chosen[0].is_file
    if not unpack:
        groups = [(False, chosen)]
    else:
        # An archive in a directory that is copied stays as it is.
        groups = [(True, [one for one in chosen if one.is_file]), (False, [one for one in chosen if not one.is_file])]
    needs_directory = several and bool(chosen) and chosen[0].is_file
    return [
        step(
            ContextFiles(root=context.root, files=_join_files(group), single=single),
            unpack=unpacked,
            needs_directory=needs_directory,
        )
        for unpacked, group in groups
        if group
    ]


def _join_files(chosen: Sequence[ChosenFiles]) -> tuple[CopiedFile, ...]:
    """The files of all sources by their place below the target; of two at one place the later."""
    by_place: dict[str, CopiedFile] = {}
    for one in chosen:
        by_place |= {file[1]: file for file in one.files}
    return tuple(by_place[place] for place in sorted(by_place))


# Addresses and here-documents


def _fetched_file(address: str, written: _Copy) -> FetchedFile:
    checksum = written.instruction.flag("checksum")
    if checksum is None:
        hint = f"name its digest: `ADD --checksum=sha256:… {address} …`, or fetch it in a RUN"
        raise ConfigError(f"ADD of an address needs `--checksum`: `{address}` may change", origin=written.origin, hint=hint)
    try:
        digest = Digest(checksum)
    except (BadContent, ValueError) as error:
        hint = "as `sha256:` and 64 hexadecimal digits"
        raise ConfigError(f"`--checksum={checksum}` is not a digest", origin=written.origin, hint=hint) from error
    name = posixpath.basename(urlsplit(address).path)
    if not name and written.target.endswith("/"):
        hint = "name the file in the target"
        raise ConfigError(f"the address `{address}` has no file name", origin=written.origin, hint=hint)
    return FetchedFile(url=address, digest=digest, name=name or posixpath.basename(written.target))


def _inline(written: _Copy, variables: dict[str, str]) -> InlineFiles:
    files = tuple(
        (
            heredoc.name,
            expand_text(heredoc.text, variables, origin=written.origin) if heredoc.expand else heredoc.text,
        )
        for heredoc in written.instruction.heredocs
    )
    for name, _ in files:
        if "/" in name or name in (".", ".."):
            raise ConfigError(f"`{name}` is not a file name", origin=written.origin)
    return InlineFiles(files)
