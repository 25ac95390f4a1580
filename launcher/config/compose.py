"""Compose the configuration tree with Hydra. The only door to Hydra.

Hydra chooses and merges *files* (groups, defaults lists, packages, `override`). The `key=value` part of the command line is
read with Hydra's grammar here but put into the tree by `overrides.py`: a sweep sets values thousands of times on one
composition, and our errors can name the line that a key comes from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launcher.config import traps
from launcher.config.origin import Sources
from launcher.config.project import SearchPath
from launcher.config.resolve import copy_tree
from launcher.config.schema_shape import KeyPath, default_tree, open_paths
from launcher.errors import ConfigError, Origin
from runtime.light_dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ConfigTree:
    """The composed files, not resolved: `${...}` stands as written."""

    values: dict[str, Any]
    sources: Sources
    choices: dict[str, str]

    def fork(self) -> ConfigTree:
        """A tree of its own with the same content."""
        return replace(self, values=copy_tree(self.values), sources=self.sources.copy())


class _LaterDirectories(SearchPathPlugin):
    """Hands the search path behind its first directory to Hydra (`hydra.searchpath` is read after the primary configuration)."""

    directories: tuple[Path, ...] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for directory in self.directories:
            search_path.append(provider="launch", path=f"file://{directory}")


class _CheckedFiles(FileConfigSource):
    """Hydra's files, each checked before Hydra reads it: its own errors name no line, and a bomb would hold it up for hours."""

    sources: Sources

    def load_config(self, config_path: str) -> ConfigResult:
        self.sources.nodes(Path(self.path, self._normalize_file_name(config_path)))
        return super().load_config(config_path)


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """The overrides of the command line, in Hydra's grammar."""
    return [override for text in texts for override in _parse(text)]


@lru_cache(maxsize=1024)  # a sweep's values come again with each trial, and nobody changes an override
def _parse(text: str) -> tuple[Override, ...]:
    traps.refuse_before_parsing(text)
    try:
        return tuple(OverridesParser.create().parse_overrides([text]))
    except HydraException as error:
        raise traps.unparsable_override(text, error) from error


def parse_sweep_value(text: str) -> Override:
    """*text* (`choice(1, 2)`, `interval(0, 1)`) in Hydra's sweep grammar, as the override `x=TEXT`. ValueError when it is not."""
    try:
        return OverridesParser.create().parse_overrides([f"x={text}"])[0]
    except HydraException as error:
        raise ValueError(text) from error


def sweep_values(override: Override) -> list[str]:
    """The values of a choice or range, each written in Hydra's grammar."""
    return [str(value) for value in override.sweep_iterator(transformer=Transformer.encode)]


def split_groups(overrides: Sequence[Override], path: SearchPath) -> tuple[list[Override], list[Override]]:
    """(choices of groups, values): `image=cuda12` is a choice, `image.base=…` and `image={…}` set values."""
    choices = [o for o in overrides if path.is_group(o.key_or_group) and not isinstance(o.value(), dict)]
    return choices, [o for o in overrides if not any(o is choice for choice in choices)]


def compose_files(
    path: SearchPath, choices: Sequence[Override], *, given: Iterable[KeyPath] = (), display_root: Path
) -> ConfigTree:
    """Compose the files of *path* under the group choices of the command line. *given*: keys that it sets besides."""
    sources = Sources(display_root)
    _check_primary(path, sources)
    traps.check_choices(choices, path)
    lines = [str(choice.input_line) for choice in choices]

    def take_part(config: ResultDefault) -> None:
        if config.config_path is not None and not config.config_path.startswith("hydra/") and config.config_path != "schema":
            _add_source(config.config_path, config.package or "", path, sources)

    with _hydra(path, sources):
        _tell_of_configs(take_part)
        try:
            composed = hydra_compose("config", overrides=lines, return_hydra_config=True)
        except (yaml.YAMLError, HydraException, OmegaConfBaseException) as error:
            raise traps.failed_composition(error, choices, path, sources) from error
        choices_made: dict[str, Any] = composed.hydra.runtime.choices
        chosen = {
            str(group): str(option)
            for group, option in choices_made.items()
            if option is not None and not str(group).startswith("hydra/")
        }
        values = _plain(composed)
    traps.check_overruled(choices, sources, given=given)
    return ConfigTree(values, sources, chosen)


def _plain(composed: DictConfig) -> dict[str, Any]:
    container = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items() if key != "hydra"}


@contextmanager
def _hydra(path: SearchPath, sources: Sources) -> Iterator[None]:
    """Hydra initialised on *path*, with our schema node; its files are read through *sources*."""
    _LaterDirectories.directories = path.directories[1:]
    plugins = Plugins.instance()
    if not any(plugin is _LaterDirectories for plugin in plugins.discover(SearchPathPlugin)):
        plugins.register(_LaterDirectories)
    _CheckedFiles.sources = sources
    SourcesRegistry.instance().types["file"] = _CheckedFiles
    if "schema.yaml" not in ConfigStore.instance().repo:  # 1.4 warns where a node is stored twice
        ConfigStore.instance().store(name="schema", node=_schema_node(), provider="launch")
    with warnings.catch_warnings():
        # 1.4 announces that `version_base="1.3"` will be refused by 1.5, which our version bound excludes.
        warnings.filterwarnings("ignore", message=r"(?s).*version_base.*")
        warnings.filterwarnings("ignore", category=UserWarning, module=r"hydra\..*")
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(path.directories[0]), job_name="launch", version_base="1.3"):
            yield


def _tell_of_configs(tell: Callable[[ResultDefault], None]) -> None:
    """Have *tell* called with each configuration that Hydra, initialised as it is now, is about to merge, in order. To ask for
    the list of them beforehand takes as long as composing: each file is read and each package found once more."""
    loader: Any = GlobalHydra.instance().config_loader()
    load = loader._load_single_config

    def load_and_tell(default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        tell(default)
        loaded: ConfigResult = load(default=default, repo=repo)
        return loaded

    loader._load_single_config = load_and_tell


def _schema_node() -> DictConfig:
    """The defaults of the schema. Open mappings (`env`, `tags`, …) are out of struct mode, so that their keys need no `+`."""
    node = OmegaConf.create(default_tree())
    for path in open_paths():
        part = OmegaConf.select(node, ".".join(path))
        if isinstance(part, DictConfig):
            OmegaConf.set_struct(part, False)
    return node


def _check_primary(path: SearchPath, sources: Sources) -> None:
    """A project's own config.yaml shadows ours whole: presets and defaults would vanish without a word."""
    file = path.find("config")
    assert file is not None, "launch ships a config.yaml"
    node = sources.nodes(file)
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        if key.value == "defaults" and any(item.value == "schema" for item in value.value if isinstance(item, yaml.ScalarNode)):
            return
    raise ConfigError(
        "this `config.yaml` takes the place of launch's own, and has no `schema` in its `defaults`",
        origin=Origin(file=sources.shown(file), line=1),
        hint="put the project's settings into `project.yaml` (begin it with `# @package _global_`) and delete `config.yaml`; "
        "where it is your own Hydra program's, `launch init` writes to `launch-conf/` beside it",
    )


def _add_source(config: str, package: str, path: SearchPath, sources: Sources) -> None:
    file = path.find(config)
    if file is None:
        return  # a node of the ConfigStore; it has no lines
    shown = sources.shown(file)
    node = sources.nodes(file)
    where: KeyPath = () if package in ("", "_global_") else tuple(package.split("."))
    if config.startswith("experiment/") and where:
        raise ConfigError(
            f"`{Path(shown).name}` lacks `# @package _global_`",
            origin=Origin(file=shown, line=1),
            hint="make it the first line: without it every key of the file lands below `experiment`",
        )
    traps.check_containers(node, where, shown, sources)
    sources.add_file(file, node, package=where, holder=path.holder(file), config=config)
