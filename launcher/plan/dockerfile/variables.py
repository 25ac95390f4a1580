"""Variables of a Dockerfile: what ARG and ENV give, where each of them counts, and words with them filled in.

As BuildKit has it (dockerfile2llb/convert.go): ARG before the first FROM counts in FROM lines, and as the default of a stage's
ARG of that name; in a stage, ARG and ENV write into one environment, the later over the earlier, which RUN sees; ENV alone goes
into the image; a stage that starts from another has its ARGs too, below the image's environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from launcher.errors import Origin
from launcher.plan.dockerfile.document import Dockerfile, Instruction
from launcher.plan.dockerfile.expand import expand, expand_words, unset_names
from runtime.suggestions import did_you_mean

Warn = Callable[[str, Origin | None], None]

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
"""Arguments that every RUN sees without an ARG, in capitals and in small letters, when they are given."""


class BuildArguments:
    """What was given with `--build-arg`, what the platform gives, and the ARGs before the first FROM."""

    def __init__(self, dockerfile: Dockerfile, given: Mapping[str, str], *, architecture: str, target: str) -> None:
        self.given = dict(given)
        platform = {"OS": "linux", "OSVERSION": "", "ARCH": architecture, "VARIANT": "", "PLATFORM": f"linux/{architecture}"}
        predefined = {f"{side}{name}": value for side in ("BUILD", "TARGET") for name, value in platform.items()}
        predefined["TARGETSTAGE"] = target
        self._predefined = frozenset(predefined)
        self.global_scope = predefined | {name: value for name, value in self.given.items() if name in predefined}
        for instruction in dockerfile.global_args:
            for name, default in instruction.arguments():
                if name in self.given:
                    self.global_scope[name] = self.given[name]
                elif default is not None:
                    self.global_scope[name] = expand(
                        default, self.global_scope, escape=dockerfile.escape, origin=instruction.origin
                    )

    @property
    def proxies(self) -> dict[str, str]:
        """Proxies that were given; RUN sees them in both spellings, as in BuildKit (executor/oci, its `ProxyEnv`)."""
        proxies = {name: value for name, value in self.given.items() if name.upper() in PROXIES}
        both = {spelt: value for name, value in proxies.items() for spelt in (name.upper(), name.lower())}
        return both | proxies

    def value_of(self, name: str, default: Callable[[], str] | None) -> str | None:
        """The value of `ARG name` in a stage; None: it has none, and stays unset."""
        if name in self.given:
            return self.given[name]
        if default is not None:
            return default()
        return self.global_scope.get(name)

    def unknown(self, dockerfile: Dockerfile) -> list[str]:
        """A warning for each argument that was given and that no ARG asks for."""
        declared = {name for instruction in _args(dockerfile) for name, _ in instruction.arguments()}
        known = declared | self._predefined
        warnings = []
        for name in self.given:
            if name not in known and name.upper() not in PROXIES:
                hint = did_you_mean(name, sorted(declared))
                warnings.append(f"no ARG of the Dockerfile takes `{name}`{f'; {hint}' if hint else ''}")
        return warnings


def _args(dockerfile: Dockerfile) -> list[Instruction]:
    stages = [instruction for stage in dockerfile.stages for instruction in stage.instructions]
    return [*dockerfile.global_args, *(instruction for instruction in stages if instruction.keyword == "ARG")]


class Words:
    """Fills in the words of one instruction."""

    def __init__(self, variables: Mapping[str, str], *, escape: str, origin: Origin, warn: Warn) -> None:
        self._variables = dict(variables)
        self._escape = escape
        self._warn = warn
        self.origin = origin

    def one(self, word: str) -> str:
        """*word* as one word."""
        self._say_what_is_unset(word)
        return expand(word, self._variables, escape=self._escape, origin=self.origin)

    def many(self, word: str) -> list[str]:
        """*word* as the words that it becomes."""
        self._say_what_is_unset(word)
        return expand_words(word, self._variables, escape=self._escape, origin=self.origin)

    def _say_what_is_unset(self, word: str) -> None:
        if "$" not in word:
            return
        for name in sorted(unset_names(word, self._variables, escape=self._escape, origin=self.origin)):
            hint = did_you_mean(name, self._variables, prefix="$")
            self._warn(f"`${name}` has no value here and counts as empty{f'; {hint}' if hint else ''}", self.origin)
