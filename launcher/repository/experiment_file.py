"""`conf/experiment/NAME.yaml` of a repository that was read: each line with the reason for it, and what could not be decided.

A person reads and edits it, so it is written by hand, not by a YAML library: comments stand where they belong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from launcher.plan.code.left_out import LeftOut, left_out_words
from launcher.repository.downloads import TORCHVISION, WANDB, Download
from launcher.repository.environments import Environment
from launcher.repository.program_options import Parameters
from launcher.repository.start_commands import StartCommand
from runtime.build.plan import WORKDIR
from runtime.light_dataclasses import dataclass, field

_PLAIN = re.compile(r"[A-Za-z0-9_./+~^-][A-Za-z0-9_./+=~^@-]*")
_NO_STRINGS = re.compile(r"(?:[-+]?[\d.][\d._eE+-]*|true|false|yes|no|on|off|null|~)", re.IGNORECASE)
_OTHERS_NAMED = 5
_DATA = re.compile(
    r"(?:^|/)(?:data|datasets?|inputs?|corpus|corpora)(?:/|$)|\.(?:txt|csv|tsv|jsonl?|npy|npz|bin|parquet|h5|hdf5|pkl|gz|zip)$"
)
_REFERENCE = re.compile(r"[\w.=/-]*\$\{[\w.]+\}")
_LONG = 100
_MOST_DATA = 200_000_000
_RANK_OPTION = re.compile(r"--(?:standalone|n(?:proc[_-]per[_-]node|nodes))(?:=\S+)?")


@dataclass(slots=True)
class Findings:
    """What was read in a repository, for one experiment."""

    name: str
    description: str
    environment: Environment
    command: StartCommand | None
    parameters: Parameters
    other_commands: Sequence[StartCommand] = ()
    downloads: Sequence[Download] = ()
    metrics: Mapping[str, str] = field(default_factory=dict)
    tensorboard: str | None = None
    """Where event files are written."""
    left_out: Sequence[LeftOut] = ()
    gpus: int = 0
    """Of this machine."""
    uses_gpus: str | None = None
    """Where the program asks for one."""
    set_variables: frozenset[str] = frozenset()
    """Names in the environment of who asks: secrets that are at hand."""
    doubts: list[str] = field(default_factory=list)

    @property
    def needs_network(self) -> list[Download]:
        """What is fetched while it runs. Reports are written to disk where nobody may send them."""
        return [each for each in self.downloads if not each.service.needed_for.startswith("reports") or self._has_secret(each)]

    def _has_secret(self, download: Download) -> bool:
        return download.service.secret in self.set_variables

    @property
    def data(self) -> list[LeftOut]:
        """What git ignores and is likely the program's input."""
        found = [each for each in self.left_out if _DATA.search(each.path)]
        return found if sum(each.size_bytes for each in found) <= _MOST_DATA else []


def experiment_text(found: Findings) -> str:
    """The whole file."""
    lines = [
        "# @package _global_",
        "# Written by `launch init` from what is in this repository: change what you like. `launch --cfg job` has every key,",
        f"# `launch plan experiment={found.name}` shows what comes of it.",
        f"description: {_scalar(found.description)}",
        *_image(found),
        *_code(found),
        *_params(found),
        *_command(found),
        *_env(found),
        *_gpus(found),
        *_network(found),
        *_metrics(found),
    ]
    doubts = [f"#   {doubt}" for doubt in found.doubts]
    return "\n".join([*lines, *(["# Not decided:", *doubts] if doubts else [])]) + "\n"


def _image(found: Findings) -> Iterator[str]:
    environment = found.environment
    yield "image:"
    if environment.dockerfile is not None:
        yield f"  dockerfile: {_scalar(environment.dockerfile)}    # {environment.why}"
        if environment.args:
            given = ", ".join(f"{name}: {json.dumps(value)}" for name, value in environment.args.items())
            yield f"  args: {{{given}}}    # {environment.why_args}"
    else:
        why = environment.why or "nothing says what it needs"
        yield f"  requirements: {_value(environment.requirements)}    # {why}"
    if environment.others:
        yield f"  # also there, and not read: {', '.join(environment.others)}"
    if environment.apt:
        yield f"  apt: {_value(environment.apt)}    # {environment.why_apt}"
    if environment.python:
        yield f'  python: "{environment.python}"    # {environment.why_python}'
    if _has_torch(environment):
        yield "  # cuda: cpu    # torch's build without CUDA, a tenth of the size; `auto`: what this machine's driver runs"


def _has_torch(environment: Environment) -> bool:
    stated = environment.requirements
    return isinstance(stated, list) and any(re.match(r"torch\b", each) for each in stated)


def _code(found: Findings) -> Iterator[str]:
    if found.data:
        names = ", ".join(json.dumps(each.path.rstrip("/")) for each in found.data)
        yield f'code: {{root: ., include: ["**", {names}]}}    # git ignores {left_out_words(found.data)}'
    else:
        yield "code: {root: .}"
    rest = [each for each in found.left_out if each not in found.data]
    if rest:
        yield f"# git ignores, and so the image has not: {left_out_words(rest)}; `code.include` takes it along, `data` mounts it"


def _command(found: Findings) -> Iterator[str]:
    command = found.command
    if command is None:
        yield "command: ???    # what starts the program: python3 train.py --lr=${params.lr}"
        yield from _others(found)
        return
    words = [word for word in found.parameters.words if not _RANK_OPTION.fullmatch(word)]
    if command.launcher is not None and any(map(_RANK_OPTION.fullmatch, command.words)):
        yield "# how many ranks there are is `gpus`: launch tells torchrun"
    reason = command.where if command.where != command.script else "the one script that looks like training"
    text = _command_text(words, command.cwd)
    if command.cwd or not found.parameters.params or len(text) < _LONG:
        yield f"command: {text}    # {reason}"
    else:
        yield f"command:    # {reason}"
        yield from (f"  - {_list_item(word)}" for word in words)
    yield from _others(found)


def _params(found: Findings) -> Iterator[str]:
    """The program's options; its seed is the run's."""
    params = found.parameters.params
    if seed := next((param for param in params if param.is_seed), None):
        yield f"seed: {seed.value}"
    if named := [param for param in params if not param.is_seed]:
        yield "params:    # its options, with the values that it has for them; `launch -m ... params.X=1,2` varies one"
        for param in named:
            choices = f"    # {', '.join(param.choices)}" if param.choices else ""
            yield f"  {param.name}: {_scalar(param.value) if isinstance(param.value, str) else param.value}{choices}"
    if params and found.parameters.left:
        yield f"  # flags, and what has no one value: {_comment(' '.join(found.parameters.left))}"


def _others(found: Findings) -> Iterator[str]:
    others = [f"{_comment(each.text)} ({each.where})" for each in found.other_commands[:_OTHERS_NAMED]]
    if others:
        yield "# others that were found:"
        yield from (f"#   {other}" for other in others)


def _command_text(words: Sequence[str], cwd: str) -> str:
    import shlex

    if cwd:
        return f"[sh, -c, {json.dumps(f'cd {shlex.quote(cwd)} && exec {shlex.join(words)}')}]"
    # Words are split before a reference is filled in: no shell sees it.
    text = " ".join(word if _REFERENCE.fullmatch(word) else shlex.quote(word) for word in words)
    return text if not re.search(r": | #|^[\[{&*!|>'\"%@`]", text) else json.dumps(text)


def _list_item(word: str) -> str:
    return word if re.fullmatch(r"[\w./${}=@%+^~-]*\w}?", word) and not _NO_STRINGS.fullmatch(word) else json.dumps(word)


def _env(found: Findings) -> Iterator[str]:
    package = found.environment.package
    values = {}
    if package is not None:
        values["PYTHONPATH"] = f"{WORKDIR}/{package}".rstrip("/")
    if any(each.service is WANDB for each in found.downloads) and "WANDB_API_KEY" not in found.set_variables:
        values["WANDB_MODE"] = "offline"
    if values:
        reasons = {"PYTHONPATH": "its own modules are imported from there", "WANDB_MODE": "WANDB_API_KEY is not in this shell"}
        words = ", ".join(f"{name}: {value}" for name, value in values.items())
        yield f"env: {{{words}}}    # {'; '.join(reasons[name] for name in values)}"


def _gpus(found: Findings) -> Iterator[str]:
    if found.uses_gpus is None:
        return
    if found.gpus:
        yield f"gpus: 1    # {found.uses_gpus}; this machine has {found.gpus}"
    else:
        yield f"# gpus: 1    # {found.uses_gpus}; this machine has none"


def _network(found: Findings) -> Iterator[str]:
    needs = found.needs_network
    if needs:
        yield "# It fetches while it runs:"
        yield from (f"#   {each.call} ({each.where}): {each.service.name}" for each in needs)
        yield "network: bridge"
    caches = dict(each.service.cache for each in needs if each.service.cache is not None)
    for each in needs:
        if each.service is TORCHVISION and each.into is not None:
            caches[re.sub(r"\W+", "_", each.into)] = f"{WORKDIR}/{each.into}"
    if caches:
        words = ", ".join(f"{name}: {place}" for name, place in caches.items())
        yield f"caches: {{{words}}}    # kept from run to run"
    secrets = {each.service.secret: each.service for each in found.downloads if each.service.secret is not None}
    at_hand = [name for name in secrets if name in found.set_variables]
    if at_hand:
        yield f"secrets: [{', '.join(at_hand)}]"
    for name, service in secrets.items():
        if name not in at_hand:
            yield f"# secrets: [{name}]    # for {service.needed_for} ({service.name}), once it is in the shell that launches"


def _metrics(found: Findings) -> Iterator[str]:
    if not found.metrics and found.tensorboard is None:
        return
    yield "metrics:"
    if found.tensorboard is not None:
        yield f"  tensorboard: true    # {found.tensorboard}"
    if found.metrics:
        yield "  patterns:    # of what it prints"
        yield from (f"    {name}: {_single_quoted(pattern)}" for name, pattern in found.metrics.items())


def _value(value: str | Sequence[str]) -> str:
    return _scalar(value) if isinstance(value, str) else f"[{', '.join(_scalar(each) for each in value)}]"


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and not _NO_STRINGS.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _comment(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."
