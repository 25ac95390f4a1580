"""Harnesses of what people write for others to build and run: Dockerfiles, ignore files, words with variables, YAML."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness import Harness

from launcher.config.origin import Sources, read_nodes
from launcher.errors import ConfigError
from launcher.plan.dockerfile.dockerignore import Ignore
from launcher.plan.dockerfile.expand import expand, expand_words
from launcher.plan.dockerfile.parse import parse
from launcher.plan.dockerfile.run_instruction import read_mounts
from launcher.plan.dockerfile.variables import Words

_VALUES = {"A": "usr/lib/python3/" * 8, "B": ""}


def _dockerfile(content: bytes) -> None:
    parsed = parse(content.decode("utf-8", "replace"), path="Dockerfile")
    for stage in parsed.stages:
        for instruction in stage.instructions:
            words = Words(
                {"A": "a/b.c", "B": ""}, escape=parsed.escape, origin=instruction.origin, warn=lambda _words, _origin: None
            )
            for word in instruction.words:
                words.one(word)
            read_mounts(instruction.flag_values("mount"), words)


def _ignore(content: bytes) -> None:
    ignore = Ignore.parse(content.decode("utf-8", "replace"))
    for path in ("a", "a/b/c.pyc", "docs/" * 30 + "x", "a" * 200 + "b"):
        ignore.excludes(path)


def _word(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    expand(text, _VALUES)
    expand_words(text, _VALUES)


def _yaml(content: bytes) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        file = Path(directory) / "a.yaml"
        file.write_bytes(content)
        node = read_nodes(file, shown="a.yaml")
        sources = Sources(Path(directory))
        sources.add_file(file, node, package=("a",), holder=Path(directory), config="a")
        sources.origins()


_DOCKERFILE = b"""# syntax=docker/dockerfile:1
ARG BASE=debian:trixie
FROM ${BASE} AS build
ENV A=1 B="two words" C=$A
RUN --mount=type=cache,target=/root/.cache --network=none <<EOT bash
echo $A
EOT
COPY --from=build --chown=1:2 --chmod=755 ["a b", "/c/"]
ADD --checksum=sha256:00 http://host/a.tar.gz /x
HEALTHCHECK --interval=1m30s CMD ["true"]
FROM scratch
ONBUILD RUN make
USER nobody:1
EXPOSE 80/tcp 1000-1002
LABEL a=b "c"='d'
SHELL ["/bin/sh", "-c"]
STOPSIGNAL SIGINT
VOLUME ["/data"]
WORKDIR /a/${B:-c}
ENTRYPOINT exec top
CMD a \\
  b
"""
_IGNORE = b"# comment\nbuild\n*.log\n!keep.log\n**/*.pyc\ndocs/**\na?c[a-z]\n/x/\n"
_YAML = b"""# @package _global_
defaults:
  - base
  - override /image: debian
params: &anchor
  lr: 0.1
  list: [1, 2, {a: b}]
other:
  <<: *anchor
  text: |
    lines
"""
_KEYWORDS = tuple(
    f"\n{word} ".encode()
    for word in ("FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "LABEL", "HEALTHCHECK", "ONBUILD", "SHELL", "EXPOSE")
)
_VARIABLES = (b"${A", b"}", b":-", b":+", b"##", b"%%", b"//", b"*", b"?", b"\\", b"'", b'"', b"$A")

HARNESSES = (
    Harness(
        "Dockerfile",
        _dockerfile,
        (ConfigError,),
        (_DOCKERFILE,),
        (*_KEYWORDS, *_VARIABLES, b"<<EOT", b"<<-'E'", b"--mount=", b"\\\n"),
    ),
    Harness(
        ".dockerignore", _ignore, (ConfigError,), (_IGNORE,), (b"*a" * 30, b"**/", b"**", b"[", b"]", b"[^", b"!", b"\\", b"?")
    ),
    Harness("word with variables", _word, (ConfigError,), (b"${A:-$B}/x'y'\"z\"", b"${A##*/}${A%/*}${A//py?/q}"), _VARIABLES),
    Harness(
        "configuration file",
        _yaml,
        (ConfigError,),
        (_YAML,),
        (b"&a ", b"*a", b"<<: ", b"!!", b"{", b"[", b"- ", b"? ", b": ", b"--- "),
    ),
)
