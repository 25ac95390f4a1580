"""YAML as CDI files have it: no key twice, texts as keys. The only place of PyYAML in `runtime`, imported when a file is."""

from __future__ import annotations

from typing import Any

from runtime.errors import BadContent


def load(text: str) -> Any:
    """The one document in *text*. Raises BadContent."""
    import yaml

    class Strict(yaml.SafeLoader):
        """SafeLoader that refuses a second key of the same name; it has no anchors' merge keys either."""

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise BadContent(f"line {line}: the key {key!r} is not a text")
            if key in found:
                raise BadContent(f"line {line}: key `{key}` is there twice")
            found[key] = loader.construct_object(value_node, deep=True)
        return found

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        return yaml.load(text, Loader=Strict)
    except (yaml.YAMLError, ValueError) as error:  # the latter of a day or a number that there is not
        raise BadContent(f"it is not YAML: {' '.join(str(error).split())}") from error


def dump(document: Any) -> str:
    """*document* as YAML, keys in its own order, one value a line."""
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False, default_flow_style=False, width=1 << 16, allow_unicode=True))
