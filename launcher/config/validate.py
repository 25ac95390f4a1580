"""From resolved values to an ExperimentSpec: the schema's judgement as errors with lines, paths made absolute, words split.

Nothing of the world is looked at here (does the file exist, are there GPUs): a compiled configuration skips this module, so
such checks belong to the planner.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from launcher.config import schema, traps
from launcher.config.origin import Sources
from launcher.config.project import shipped_path
from launcher.config.resolve import read_variable
from launcher.config.schema_shape import KeyPath, shapes
from launcher.config.spec import ExperimentSpec, from_json
from launcher.errors import ConfigError, Origin
from runtime.light_dataclasses import dataclass
from runtime.suggestions import did_you_mean

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "int_from_float": "a whole number",
}
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://")
_FILE_OPTION = re.compile(r"(-r|--requirement|-c|--constraint|-f|--find-links)(\s+|=)(.+)|(-r|-c|-f)(\S.*)")
_BASE_FILE = re.compile(r"(oci|oci-archive|docker-archive):(.+)")


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """What validation needs to know besides the values."""

    sources: Sources
    holder: Path
    """Directory that a path starts from where nobody wrote it (`code.root` by default): the experiment's project."""
    experiment: Origin | None


def to_spec(values: dict[str, Any], context: ValidationContext) -> ExperimentSpec:
    """The spec for *values*. Raises ConfigError for the first thing that is wrong, naming the others."""
    no_command = values.get("command") in (None, "", [])
    try:
        checked = schema.ExperimentSpec.model_validate(values | {"command": []} if no_command else values)
    except ValidationError as error:
        raise _first_of(error, values, context) from error
    if no_command and checked.image.dockerfile is None:
        # Only now: it may be missing because another key is misspelled.
        raise ConfigError(
            f"`{values.get('name')}` has no `command`",
            origin=context.experiment,
            hint="as in `command: python3 train.py --lr=${params.lr}`",
        )
    document = checked.model_dump()
    _Paths(context).make_absolute(document)
    _check_words(document["command"], context)
    document["data"] = {
        name: {"source": mount} if isinstance(mount, str) else mount
        for name, mount in document["data"].items()
        if mount is not None
    }
    _check_requirements(document["image"], context)
    return from_json(ExperimentSpec, document)


def _check_words(command: list[Any], context: ValidationContext) -> None:
    for index, word in enumerate(command):
        if not isinstance(word, str):
            origin = context.sources.origin(("command", index))
            shown = "null" if word is None else "a mapping" if isinstance(word, dict) else "a list"
            raise ConfigError(f"word {index + 1} of the command is {shown}, not text", origin=origin)


def _first_of(error: ValidationError, values: dict[str, Any], context: ValidationContext) -> ConfigError:
    found: dict[KeyPath, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        found.setdefault(_key_of(detail, values), []).append(detail)
    # A union reports the alternatives that do not fit too: "should be text" beside the real error inside the mapping.
    deepest = {
        path: details
        for path, details in found.items()
        if not any(other[: len(path)] == path and other != path for other in found)
    }
    # An unknown key explains the missing one beside it (`sourc` for `source`).
    in_order = sorted(deepest.items(), key=lambda pair: pair[1][0]["type"] != "extra_forbidden")
    problems = [_problem(path, details, context) for path, details in in_order]
    first = problems[0]
    if len(problems) > 1:
        others = "; ".join(f"{problem.message}" + (f" ({problem.origin})" if problem.origin else "") for problem in problems[1:5])
        first.hint = f"{first.hint}\nalso: {others}" if first.hint else f"also: {others}"
    return first


def _key_of(detail: ErrorDetails, values: dict[str, Any]) -> KeyPath:
    """The configuration's key of a pydantic location, which names the alternatives of unions too (`data.d.Mount.sourc`)."""
    path: list[str | int] = []
    at: Any = values
    for position, part in enumerate(detail["loc"]):
        inside = part in at if isinstance(at, dict) else isinstance(at, list) and isinstance(part, int) and part < len(at)
        if inside:
            path.append(part)
            at = at[part]
        elif detail["type"] == "missing" and position == len(detail["loc"]) - 1:
            path.append(part)
    return tuple(path)


def _problem(path: KeyPath, details: list[ErrorDetails], context: ValidationContext) -> ConfigError:
    origin = context.sources.origin(path) or context.experiment
    name, detail = traps.dotted(path), details[0]
    if detail["type"] == "extra_forbidden":
        siblings = [known[-1] for known in shapes() if len(known) == len(path) and known[:-1] == _generic(path[:-1])]
        return traps.unknown_key(path, siblings, origin=origin)
    if detail["type"] == "missing":
        return ConfigError(f"`{name}` is missing", origin=origin)
    value = _display(detail["input"])
    reasons = [d for d in details if d["type"] in ("value_error", "assertion_error")]
    if reasons:
        text = str(reasons[0].get("ctx", {}).get("error", reasons[0]["msg"]))
        reason, _, hint = text.partition(": ")
        if detail["loc"][-1] == "[key]":
            return ConfigError(f"`{name}` is {reason}", origin=origin, hint=hint or None)
        return ConfigError(f"`{name}` is {value}: {reason}", origin=origin, hint=hint or None)
    wanted = list(dict.fromkeys(_expected(d) for d in details))
    return ConfigError(f"`{name}` must be {_or(wanted)}, not {value}", origin=origin, hint=_near_choice(details))


def _near_choice(details: Iterable[ErrorDetails]) -> str | None:
    for detail in details:
        if detail["type"] == "literal_error":
            choices = re.findall(r"'([^']+)'", str(detail.get("ctx", {}).get("expected", "")))
            hint = did_you_mean(str(detail["input"]), choices)
            if hint is not None:
                return hint
    return None


def _expected(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "literal_error":
            return str(context["expected"]).replace("'", "`")
        case "greater_than":
            return f"more than {context['gt']}"
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case "string_too_short" | "too_short":
            return "not empty"
        case kind:
            return _EXPECTED.get(kind) or str(detail["msg"]).removeprefix("Input should be ").lower()


def _or(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _display(value: Any) -> str:
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text if len(text) <= 80 else text[:77] + '…'}`"


def _generic(path: KeyPath) -> tuple[str, ...]:
    """*path* as the schema spells it: `image.groups.video` → `image.groups.*`."""
    known = shapes()
    found: tuple[str, ...] = ()
    for part in path:
        name = "[]" if isinstance(part, int) else part
        found = (*found, name) if (*found, name) in known else (*found, "*")
    return found


def _check_requirements(image: dict[str, Any], context: ValidationContext) -> None:
    """A requirement that nobody could read is found here, with its line, and not by the resolver minutes later."""
    from packaging.requirements import InvalidRequirement, Requirement

    lists: list[tuple[KeyPath, Any]] = [(("image", "requirements"), image["requirements"])]
    lists += [(("image", "groups", name, "requirements"), group["requirements"]) for name, group in image["groups"].items()]
    for path, requirements in lists:
        for index, text in enumerate(requirements if isinstance(requirements, list) else []):
            if text.startswith(("-", ".")) or "/" in text.split("@")[0] or text.endswith((".whl", ".tar.gz", ".zip")):
                continue  # options of requirements.txt, local files and directories
            try:
                Requirement(text)
            except InvalidRequirement as error:
                reason, origin = str(error).splitlines()[0].lower(), context.sources.origin((*path, index))
                hint = "write one as in `scikit-learn>=1.5`"
                raise ConfigError(f"`{text}` is not a requirement: {reason}", origin=origin, hint=hint) from error


class _Paths:
    """Makes the paths of a checked document absolute, each from the directory of whoever wrote it."""

    def __init__(self, context: ValidationContext) -> None:
        self._context = context

    def make_absolute(self, document: dict[str, Any]) -> None:
        image, index = document["image"], document["image"]["index"]
        document["code"]["root"] = self._absolute(document["code"]["root"], ("code", "root"))
        for key in ("dockerfile", "context"):
            if image[key] is not None:
                image[key] = self._absolute(image[key], ("image", key))
        if isinstance(image["requirements"], str):
            image["requirements"] = self._absolute(image["requirements"], ("image", "requirements"))
        else:
            image["requirements"] = self._lines(image["requirements"], ("image", "requirements"))
        for name, group in image["groups"].items():
            group["requirements"] = self._lines(group["requirements"], ("image", "groups", name, "requirements"))
        for key in ("find_links", "constraints"):
            index[key] = [
                item if _ADDRESS.match(item) else self._absolute(item, ("image", "index", key, place))
                for place, item in enumerate(index[key])
            ]
        base = _BASE_FILE.fullmatch(image["base"])
        if base:
            image["base"] = f"{base[1]}:{self._absolute(base[2], ('image', 'base'))}"
        for name, mount in document["data"].items():
            if isinstance(mount, str):
                document["data"][name] = self._absolute(mount, ("data", name))
            elif mount is not None:
                mount["source"] = self._absolute(mount["source"], ("data", name, "source"))

    def _lines(self, lines: list[str], path: KeyPath) -> list[str]:
        """Lines of a requirements list: `-r FILE`, `./package` and `../package` hold paths."""
        made = []
        for place, line in enumerate(lines):
            option = _FILE_OPTION.fullmatch(line)
            if option and not _ADDRESS.match(option[3] or option[5]):
                line = f"{option[1] or option[4]} {self._absolute(option[3] or option[5], (*path, place))}"
            elif line.startswith(("./", "../", "~/")):
                line = self._absolute(line, (*path, place))
            made.append(line)
        return made

    def _absolute(self, text: str, path: KeyPath) -> str:
        if text == "~" or text.startswith("~/"):
            text = f"{read_variable('HOME') or '~'}{text[1:]}"
        source = self._context.sources.nearest(path)
        holder = source.holder if source is not None else self._context.holder
        return os.path.normpath(shipped_path(holder, text))
