"""RUN: its command line with shell and here-documents, its flags, and the step that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from launcher.errors import ConfigError
from launcher.plan.command_step import RUN_NETWORK
from launcher.plan.dockerfile.context import BuildContext
from launcher.plan.dockerfile.document import Instruction
from launcher.plan.dockerfile.heredoc import heredoc_word
from launcher.plan.dockerfile.image_draft import ImageDraft
from launcher.plan.dockerfile.run_mounts import WrittenMount, mount_of, written_mounts
from launcher.plan.dockerfile.variables import Words
from runtime.build.plan import RunCommand, RunMount

StageNumber = Callable[[str, Instruction], int]
"""`from` of an instruction → the number of that stage in the build plan."""


def run_step(
    instruction: Instruction,
    draft: ImageDraft,
    words: Words,
    *,
    environment: Mapping[str, str],
    context: BuildContext,
    stage_number: StageNumber,
    network: str,
    label: str,
) -> RunCommand:
    """The step of RUN. *environment*: ENV, ARG and proxies as they are here. *network*: what `default` means."""
    if instruction.flag("security") == "insecure":
        hint = "a build step has the rights of a container's root, which is nobody on this machine"
        raise ConfigError("`RUN --security=insecure` is not supported", origin=instruction.origin, hint=hint)
    if instruction.flag_values("device"):
        hint = "build on the CPU; a run gets GPUs by `gpus`"
        raise ConfigError("`RUN --device` is not supported", origin=instruction.origin, hint=hint)
    argv, stdin = _command(instruction, draft)
    written = written_mounts(instruction.flag_values("mount"), words)
    mounts = [_mount(one, instruction, draft, context, stage_number) for one in written]
    asked = instruction.flag("network") or "default"
    return RunCommand(
        argv=argv,
        env=tuple(sorted(environment.items())),
        network=network if asked == "default" else asked,
        cwd=draft.workdir,
        user=draft.user,
        mounts=tuple(mounts),
        stdin=stdin,
        label=label,
    )


def default_network(asked: str | None) -> str:
    """What `--network=default` of RUN means under `launch build --network`."""
    return RUN_NETWORK if asked in (None, "default") else asked


def _command(instruction: Instruction, draft: ImageDraft) -> tuple[tuple[str, ...], str]:
    """The words to run and what they read."""
    if instruction.form != "shell":
        return instruction.words, ""
    (line,) = instruction.words
    if not instruction.heredocs:
        return draft.in_shell(line), ""
    if heredoc_word(line) is None:
        # Part of a command: given back to the shell, which knows what to do with it.
        whole = "".join([line, *(f"\n{heredoc.content}{heredoc.name}" for heredoc in instruction.heredocs)])
        return draft.in_shell(whole), ""
    (heredoc,) = instruction.heredocs
    if not heredoc.text.startswith("#!"):
        return draft.in_shell(heredoc.text), ""
    return _interpreter(heredoc.text, instruction), heredoc.text


def _interpreter(script: str, instruction: Instruction) -> tuple[str, ...]:
    """How the kernel would start *script* (execve(2), "Interpreter scripts"), which comes as standard input."""
    first = script.partition("\n")[0].removeprefix("#!").strip()
    if not first:
        raise ConfigError("the script of RUN names no interpreter after `#!`", origin=instruction.origin)
    program, _, argument = first.partition(" ")
    if not program.startswith("/"):
        raise ConfigError(f"the interpreter `{program}` of RUN's script is no absolute path", origin=instruction.origin)
    return (program, *([argument.strip()] if argument.strip() else []), "/dev/stdin")


def _mount(
    written: WrittenMount, instruction: Instruction, draft: ImageDraft, context: BuildContext, stage_number: StageNumber
) -> RunMount:
    mount = mount_of(written, workdir=draft.workdir, origin=instruction.origin)
    if written.from_ and written.from_ != "scratch":
        return replace(mount, stage=stage_number(written.from_, instruction))
    if mount.kind == "bind" and written.from_ == "scratch":
        raise ConfigError("a bind mount `from=scratch` has no files", origin=instruction.origin, hint="`type=tmpfs` is empty")
    if mount.kind == "cache" and mount.source:
        raise ConfigError("a cache with a `source` needs a `from`", origin=instruction.origin)
    if mount.kind == "bind":
        return replace(mount, context=context.root, files=context.mounted(mount.source, origin=instruction.origin))
    return mount
