"""What Hydra accepts in silence or refuses with a riddle, turned into errors that help.

The functions look at command lines, YAML nodes and Hydra's messages; they never compose. `test_configuration_traps.py` has a
test for each.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import yaml

from launcher.config.limits import check_override
from launcher.config.origin import Sources
from launcher.config.project import SearchPath, configuration_files
from launcher.config.schema_shape import KeyPath, known_keys, shape_at
from launcher.errors import ConfigError, Origin
from runtime.suggestions import closest, did_you_mean

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_WITH = "`--with {}` adds a requirement to those of the experiment"


def refuse_before_parsing(text: str) -> None:
    """Refuse what Hydra would take or misread: `hydra.*`, `extend_list(…)`, a bare word."""
    check_override(text)
    origin = Origin(override=text)
    key, equals, value = text.partition("=")
    if re.match(r"[+~]*hydra([./@]|$)", key):
        raise ConfigError(
            "launch does not run through Hydra's own runner: `hydra.*` settings have no effect",
            origin=origin,
            hint="output goes to `$LAUNCH_OUTPUTS`; a sweep is configured by `sweep.*`",
        )
    if "extend_list(" in value:
        raise ConfigError("`extend_list(…)` is not supported", origin=origin, hint=_WITH.format("PACKAGE"))
    if not equals and not text.startswith("~"):
        raise ConfigError(
            f"`{text}` is not an override: write `KEY=VALUE`",
            origin=origin,
            hint=f"an experiment is chosen with `experiment={text}`",
        )


def unparsable_override(text: str, error: Exception) -> ConfigError:
    """An override that Hydra's grammar refuses."""
    key, _, value = text.partition("=")
    key = key.lstrip("+~")
    origin = Origin(override=text)
    if key == "command":
        experiment = "launch experiment=NAME -- "
        return ConfigError(
            "a command cannot be given as an override", origin=origin, hint=f"`{experiment}{value}` replaces the command"
        )
    if key.endswith("requirements"):
        wanted = [item.strip().strip("\"'") for item in value.strip("[]").split(",") if item.strip()]
        adding = " ".join(f"--with {shlex.quote(item)}" for item in wanted)
        return ConfigError(
            f"`{value}` needs quotes in Hydra's grammar",
            origin=origin,
            hint=f"`{adding}` adds to the experiment's requirements; to replace them: "
            + shlex.quote(f"{key}=[{','.join(chr(34) + item + chr(34) for item in wanted)}]"),
        )
    if value.endswith(",") and "[" not in value:
        return ConfigError(f"`{text}` lacks a value behind its last comma", origin=origin, hint=f"`{key}={value.rstrip(',')}`")
    reason = next((line.strip() for line in str(error).splitlines() if "mismatched" in line or "Unknown function" in line), "")
    detail = f" ({reason})" if reason else ""
    items = [item.strip() for item in value[1:-1].split(",")] if value.startswith("[") and value.endswith("]") else []
    quoted = shlex.quote(f"{key}=[{','.join(_quote(item) for item in items)}]" if items else f"{key}={_quote(value)}")
    return ConfigError(
        f"`{text}` is not an override that can be read{detail}",
        origin=origin,
        hint=f"text with special characters needs quotes twice: {quoted}",
    )


def _quote(text: str) -> str:
    return text if text[:1] in ("'", '"') else f'"{text}"'


def check_choices(choices: Sequence[Override], path: SearchPath) -> None:
    """Every choice of a group must exist, and there must be an experiment."""
    for choice in choices:
        group, option = choice.key_or_group, choice.value()
        origin = Origin(override=str(choice.input_line))
        if choice.is_delete():
            raise ConfigError(
                f"`{group}` cannot be deleted",
                origin=origin,
                hint=f"choose another preset, as in `{group}={(path.options(group) or ['NAME'])[-1]}`",
            )
        if option is None:
            raise ConfigError(
                f"`{group}` is chosen among {join_names(path.options(group))}",
                origin=origin,
                hint="`tracking=none` records the journal only" if group == "tracking" else None,
            )
        for name in option if isinstance(option, list) else [option]:
            if path.find(f"{group}/{name}") is None:
                raise _no_such_option(group, str(name), path, origin)
    if not any(choice.key_or_group == "experiment" for choice in choices):
        raise ConfigError(
            "no experiment was chosen",
            hint=f"write `experiment=NAME`; there {join_names(path.options('experiment'), verb=True)}; "
            "`launch list` describes them",
        )


def _no_such_option(group: str, name: str, path: SearchPath, origin: Origin) -> ConfigError:
    options = path.options(group)
    what = f"no preset `{name}` of `{group}`" if shape_at((group,)) is not None else f"no {group} `{name}`"
    there = f"there {join_names(options, verb=True)}"
    if group == "experiment" and path.project() is None:
        there += "; neither here nor above is a project's `conf/`, which `launch init` writes"
    hint = did_you_mean(name, options, prefix=f"{group}=") or there
    return ConfigError(what, origin=origin, hint=hint)


def join_names(names: Sequence[str], *, verb: bool = False) -> str:
    """`a`, `b`, `c`; with *verb* "is `a`" or "are `a`, `b`"."""
    text = ", ".join(f"`{name}`" for name in names) or "none"
    return f"{'is' if len(names) <= 1 else 'are'} {text}" if verb else text


def failed_composition(error: Exception, choices: Sequence[Override], path: SearchPath, sources: Sources) -> ConfigError:
    """Hydra could not compose. Its message names a configuration; the line is found here."""
    text = str(error)
    found = re.search(r"In '([^']+)': (.*)", text)
    config, rest = (
        (found[1], found[2]) if found else (None, text.strip().splitlines()[0] if text.strip() else type(error).__name__)
    )
    missing = re.search(r"Could not (?:find|load) '([^']+)'", text)
    if missing:
        group, _, name = missing[1].rpartition("/")
        origin = _line_of(name, config, path, sources)
        return (
            _no_such_option(group.split("@")[0], name, path, origin)
            if group
            else ConfigError(f"no configuration `{name}`", origin=origin)
        )
    override = re.search(r"(?:Could not override '|Invalid Defaults List override '/?)([^'@:]+)", text)
    if override:
        group = override[1]
        chosen = (Origin(override=str(choice.input_line)) for choice in choices if choice.key_or_group == group)
        where = _line_of(group, config, path, sources) if config else next(chosen, None)
        hint = None if group in path.groups() else did_you_mean(group, path.groups())
        hint = hint or "only a group that stands earlier in the defaults can be overridden"
        return ConfigError(f"nothing to override: `{group}` is not chosen before", origin=where, hint=hint)
    origin_or_none = _line_of("", config, path, sources) if config else None
    return ConfigError(f"cannot compose the configuration: {rest}", origin=origin_or_none)


def _line_of(word: str, config: str | None, path: SearchPath, sources: Sources) -> Origin:
    """The line that names *word*: in *config*, else (Hydra names the wrong one for an `override`) in any file; else *config*."""
    named = path.find(config or "config")
    files = ([named] if named else []) + [file for _, file in configuration_files(path)]
    pattern = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])")
    for file in files if word else []:
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
            if pattern.search(line.split("#")[0]):
                return Origin(file=sources.shown(file), line=number)
    return Origin(file=sources.shown(named), line=1) if named else Origin(file=config)


def check_containers(node: yaml.Node | None, package: KeyPath, shown: str, sources: Sources) -> None:
    """A key that holds a list where the schema or another file has a mapping, or the other way round: Hydra fails without naming
    either."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        path = (*package, str(key.value))
        if path == ("defaults",):
            continue
        origin = Origin(file=shown, line=key.start_mark.line + 1)
        shape = shape_at(path)
        if isinstance(value, yaml.SequenceNode) and shape and (shape.mapping or shape.open_mapping) and not shape.list:
            hint = f"name what it holds: `{path[-1]}: {{NAME: VALUE}}`"
            raise ConfigError(f"`{dotted(path)}` is a list here, and means a mapping", origin=origin, hint=hint)
        earlier = list(sources.below(path))
        holds_list = any(len(known) == len(path) + 1 and isinstance(known[-1], int) for known, _ in earlier)
        holds_mapping = any(len(known) == len(path) + 1 and isinstance(known[-1], str) for known, _ in earlier)
        if (isinstance(value, yaml.MappingNode) and holds_list) or (isinstance(value, yaml.SequenceNode) and holds_mapping):
            now, before = ("a mapping", "a list") if holds_list else ("a list", "a mapping")
            raise ConfigError(
                f"`{dotted(path)}` is {now} here and {before} in {earlier[0][1].origin}",
                origin=origin,
                hint="a key holds one kind of value in every file",
            )
        shape = shape_at(path)
        if (
            isinstance(value, yaml.ScalarNode)
            and len(path) == 1
            and shape
            and shape.mapping
            and value.tag != "tag:yaml.org,2002:null"
        ):
            _refuse_scalar_section(path, str(value.value), origin)
        if isinstance(value, yaml.MappingNode):
            check_containers(value, path, shown, sources)


def _refuse_scalar_section(path: KeyPath, value: str, origin: Origin) -> None:
    name = dotted(path)
    if name == "gpu":
        hint = f"did you mean `gpus: {value}`?"
    elif name in ("image", "tracking", "cluster", "sweep"):
        hint = f"a preset is chosen in `defaults:`, as `- override /{name}: {value}`"
    else:
        hint = f"write its keys: `{name}: {{…}}`"
    raise ConfigError(f"`{name}` is a mapping", origin=origin, hint=hint)


def check_overruled(choices: Sequence[Override], sources: Sources, *, given: Iterable[KeyPath]) -> None:
    """A preset chosen on the command line must not be overruled by a file in silence."""
    set_by_hand = set(given)
    for choice in choices:
        group = f"{choice.key_or_group}/"
        for path, source in sources.written():
            if source.config is None or not source.config.startswith(group) or path in set_by_hand:
                continue
            final = sources.nearest(path)
            if final is not None and final.config is not None and not final.config.startswith(group):
                raise ConfigError(
                    f"`{choice.input_line}` does not reach `{dotted(path)}`: {final.origin} sets it again, over {source.origin}",
                    origin=Origin(override=str(choice.input_line)),
                    hint=f"in {final.origin} choose a preset with `defaults: [override /{choice.key_or_group}: NAME]` instead, "
                    f"or give `{dotted(path)}=…` on the command line",
                )


def unknown_key(
    path: KeyPath, siblings: Sequence[str], *, elsewhere: Iterable[str] = (), origin: Origin | None, value: str | None = None
) -> ConfigError:
    """A key that does not exist. Never advises `+` where a known key is near."""
    name = dotted(path)
    if value is not None and not value.startswith("{"):
        siblings = [sibling for sibling in siblings if not _only_mapping((*path[:-1], sibling))]
    near = near_key(path, siblings, elsewhere=elsewhere)
    shown = f"={value}" if value is not None else ""
    if near is not None:
        hint: str | None = f"did you mean `{near}{shown}`?"
    elif path[0] == "params" and value is not None:
        hint = f"`+{name}{shown}` adds a new parameter"
    elif path[:1] == ("gpus",):
        hint = "`gpus` is a number; requirements for each GPU go to `gpu.model`, `gpu.memory`"
    else:
        known = sorted(str(key) for key in siblings)
        hint = f"`{dotted(path[:-1])}` has {join_names(known)}" if known and len(path) > 1 and len(known) <= 20 else None
    return ConfigError(f"unknown key `{name}`", origin=origin, hint=hint)


def _only_mapping(path: KeyPath) -> bool:
    shape = shape_at(path)
    return shape is not None and (shape.mapping or shape.open_mapping) and not shape.scalar


def near_key(path: KeyPath, siblings: Iterable[str], *, elsewhere: Iterable[str] = ()) -> str | None:
    """The known key that *path* most likely means: a sibling with a near name, else the same name *elsewhere* (dotted keys)."""
    parent, last = path[:-1], str(path[-1])
    names = [str(sibling) for sibling in siblings]
    if path == ("gpu",):
        return "gpus"
    near = closest(last, names, cutoff=0.7)
    if near is not None:
        return dotted((*parent, near))
    known = [*elsewhere, *known_keys()]
    same_end = sorted((key for key in known if key.split(".")[-1] == last and key != dotted(path)), key=len)
    if same_end:
        return same_end[0]
    above = f"{dotted(parent)}."  # who wrote it knows what it is in, and its siblings have been compared
    return closest(dotted(path), [key for key in known if not (above.startswith(f"{key}.") or key.startswith(above))], cutoff=0.8)


def dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(part) for part in path)
