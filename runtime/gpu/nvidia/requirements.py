"""What an image demands of the driver, in NVIDIA_REQUIRE_* variables, and whether a GPU meets it.

`cuda>=12.2 brand=tesla,driver>=470,driver<471`: spaces are "or", commas "and" (libnvidia-container, src/cli/dsl.c). Names are
cuda, driver, arch (compute capability) and brand; versions compare as numbers by part, 12 is 12.0. All variables must be met.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping

from runtime.gpu.gpu import Gpu
from runtime.light_dataclasses import dataclass

Version = tuple[int, ...]

_OPERATORS: dict[str, Callable[[Version, Version], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TERM = re.compile(r"([^<>=!]+)(<=|>=|!=|=|<|>)(.+)")
_NAMES = ("cuda", "driver", "arch", "brand")
_PREFIX = "NVIDIA_REQUIRE_"
_NOT_OURS = "NVIDIA_REQUIRE_JETPACK"
_OFF = "NVIDIA_DISABLE_REQUIRE"
_CUDA = re.compile(r"\bcuda>=(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Has:
    """What a GPU and its driver have. None: not known, and taken as met."""

    cuda: str | None = None
    driver: str | None = None
    arch: str | None = None
    brands: tuple[str, ...] = ()
    """Every name that images use for its product line, in lower case."""

    @classmethod
    def of(cls, gpu: Gpu) -> Has:
        cuda = None if gpu.cuda is None else f"{gpu.cuda[0]}.{gpu.cuda[1]}"
        return cls(cuda, gpu.driver, gpu.capability, brand_names(gpu))


def brand_names(gpu: Gpu) -> tuple[str, ...]:
    """Images list `tesla`, `nvidia` and `unknown` for what NVML calls one or the other: any of the synonyms counts."""
    brand = (gpu.brand or "").lower().replace(" ", "").replace("_", "")
    if is_geforce(gpu):
        return ("geforce", *((brand,) if brand not in ("", "geforce") else ()))
    if brand in ("", "unknown", "nvidia", "tesla"):
        return ("nvidia", "tesla", "unknown")
    return (brand,)


def is_geforce(gpu: Gpu) -> bool:
    """A consumer card: CUDA's forward compatibility is refused there (error 804)."""
    return "geforce" in f"{gpu.brand or ''} {gpu.model or ''}".lower()


def demands(env: Mapping[str, str]) -> tuple[str, ...]:
    """The expressions in an image's environment; `cuda>=X.Y` for one that has only CUDA_VERSION."""
    if env.get(_OFF, "").lower() in ("1", "t", "true"):
        return ()
    names = sorted(name for name in env if name.startswith(_PREFIX) and not name.startswith(_NOT_OURS))
    if names:
        return tuple(env[name] for name in names if env[name].strip())
    version = re.match(r"(\d+)\.(\d+)", env.get("CUDA_VERSION", ""))
    return (f"cuda>={version[1]}.{version[2]}",) if version else ()


def is_met(expression: str, has: Has) -> bool:
    """Whether *has* satisfies one of the alternatives. Raises ValueError for what is no expression."""
    alternatives = [[_term(word, has) for word in part.split(",") if word] for part in expression.split(" ") if part]
    return not alternatives or any(all(terms) for terms in alternatives)


def wanted_cuda(expressions: Iterable[str]) -> tuple[int, int] | None:
    """The newest CUDA that *expressions* name."""
    found = [version(text) for expression in expressions for text in _CUDA.findall(expression)]
    return max((one[0], one[1] if len(one) > 1 else 0) for one in found if one) if any(found) else None


def version(text: str) -> Version:
    """`580.95.05` → (580, 95, 5); trailing zeros don't count. Raises ValueError."""
    if not re.fullmatch(r"\d+(?:\.\d+)*\.?", text):
        raise ValueError(f"`{text}` is not a version")
    parts = [int(part) for part in text.split(".") if part]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _term(word: str, has: Has) -> bool:
    found = _TERM.fullmatch(word)
    if found is None:
        raise ValueError(f"`{word}` is not a requirement")
    name, sign, wanted = found[1].lower(), found[2], found[3]
    if name not in _NAMES:
        raise ValueError(f"`{name}` is not one of {', '.join(_NAMES)}")
    if name == "brand":
        if sign not in ("=", "!="):
            raise ValueError(f"`{word}`: a brand is equal or not")
        is_one = not has.brands or wanted.lower() in has.brands
        return is_one if sign == "=" else not has.brands or not is_one
    known = {"cuda": has.cuda, "driver": has.driver, "arch": has.arch}[name]
    wanted_version = version(wanted)
    return known is None or _OPERATORS[sign](version(known), wanted_version)
