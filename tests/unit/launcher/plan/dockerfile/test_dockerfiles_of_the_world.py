"""Whole Dockerfiles in the styles that people write: every instruction is there, in order, with what matters of it."""

from __future__ import annotations

from launcher.plan.dockerfile.document import Instruction, Stage
from launcher.plan.dockerfile.parse import parse

NODE = """\
# syntax=docker/dockerfile:1.7

ARG NODE_VERSION=22.3.0

################################################################################
FROM node:${NODE_VERSION}-alpine as base
WORKDIR /usr/src/app

FROM base as deps
# Bind mounts keep the manifests out of the layer.
RUN --mount=type=bind,source=package.json,target=package.json \\
    --mount=type=bind,source=package-lock.json,target=package-lock.json \\
    --mount=type=cache,target=/root/.npm \\
    npm ci --omit=dev

FROM deps as build
COPY . .
RUN npm run build

FROM base as final
ENV NODE_ENV production
USER node
COPY package.json .
COPY --from=deps /usr/src/app/node_modules ./node_modules
COPY --from=build --chown=node:node /usr/src/app/dist ./dist
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s \\
  CMD wget -qO- http://localhost:3000/health || exit 1
CMD npm start
"""

GO = """\
# syntax=docker/dockerfile:1
ARG GO_VERSION=1.22
ARG BASE=registry.example/distroless/static-debian12:nonroot

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
RUN --mount=type=cache,target=/go/pkg/mod/ \\
    --mount=type=bind,source=go.sum,target=go.sum \\
    --mount=type=bind,source=go.mod,target=go.mod \\
    go mod download -x
RUN --mount=type=cache,target=/go/pkg/mod/ --mount=type=bind,target=. \\
    CGO_ENABLED=0 GOOS=${TARGETOS:-linux} GOARCH=$TARGETARCH go build -ldflags="-s -w" -o /bin/server .

FROM ${BASE}
COPY --from=build --link /bin/server /bin/
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
USER nonroot:nonroot
ENTRYPOINT [ "/bin/server" ]
"""

PYTHON = """\
FROM python:3.12-slim AS builder

ENV PYTHONDONTWRITEBYTECODE=1 \\
    PYTHONUNBUFFERED=1 \\
    PIP_NO_CACHE_DIR=off \\
    # poetry:
    POETRY_VERSION=1.8.2 \\

    PATH="/opt/venv/bin:$PATH"

RUN <<EOF
set -e
apt-get update
apt-get install -y --no-install-recommends build-essential
rm -rf /var/lib/apt/lists/*
EOF

RUN python -m venv /opt/venv
COPY requirements*.txt /tmp/
RUN pip install -r /tmp/requirements.txt

FROM python:3.12-slim
LABEL org.opencontainers.image.title="service" \\
      org.opencontainers.image.licenses='MIT'
COPY --from=builder /opt/venv /opt/venv
COPY <<-"SH" /entrypoint.sh
	#!/bin/sh
	exec "$@"
	SH
RUN chmod +x /entrypoint.sh && \\
    groupadd --system app \\
    # nobody logs in as this one
    && useradd --system --gid app app
USER app
WORKDIR /app
COPY --chown=app:app ["src", "/app/src"]
VOLUME ["/data"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/entrypoint.sh"]
CMD ["gunicorn", "-b", "0.0.0.0:8000", "app:app"]
"""

CUDA = """\
ARG CUDA_VERSION=12.4.1
FROM registry.example/nvidia/cuda:${CUDA_VERSION}-cudnn-devel-ubuntu22.04 as builder
ARG DEBIAN_FRONTEND=noninteractive
SHELL ["/bin/bash", "-euxo", "pipefail", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends \\
        git \\
        python3-pip \\
 && rm -rf /var/lib/apt/lists/*
ARG TORCH_CUDA_ARCH_LIST="8.0;9.0+PTX"
ENV TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST} FORCE_CUDA=1
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/a.tar.gz /tmp/
RUN pip install torch==2.4.* \\
    --index-url "https://example.com/cu124"
ONBUILD COPY . /workspace
FROM builder
WORKDIR /workspace
CMD python3 train.py --lr 0.1
"""


def stages(text: str) -> tuple[Stage, ...]:
    dockerfile = parse(text, path="Dockerfile")
    assert all(stage.instructions for stage in dockerfile.stages)
    return dockerfile.stages


def named(stage: Stage, keyword: str) -> list[Instruction]:
    return [one for one in stage.instructions if one.keyword == keyword]


def test_a_node_service() -> None:
    base, deps, build, final = stages(NODE)
    assert ["base", "deps", "build", "final"] == [stage.name for stage in (base, deps, build, final)]
    (install,) = deps.instructions
    assert ("npm ci --omit=dev",) == install.words
    assert 3 == len(install.flag_values("mount"))
    assert [None, "deps", "build"] == [copy.flag("from") for copy in named(final, "COPY")]
    (health,) = named(final, "HEALTHCHECK")
    assert ("CMD", "wget -qO- http://localhost:3000/health || exit 1") == health.words
    assert (("NODE_ENV", "production"),) == named(final, "ENV")[0].pairs()


def test_a_go_service() -> None:
    build, final = stages(GO)
    assert "$BUILDPLATFORM" == build.platform
    assert (("TARGETOS", None), ("TARGETARCH", None)) == named(build, "ARG")[0].arguments()
    assert named(build, "RUN")[1].words[0].endswith('go build -ldflags="-s -w" -o /bin/server .')
    assert ("${BASE}", None) == (final.base, final.name)
    assert named(final, "COPY")[0].has_flag("link")
    assert ("exec", ("/bin/server",)) == (named(final, "ENTRYPOINT")[0].form, named(final, "ENTRYPOINT")[0].words)


def test_a_python_service() -> None:
    builder, final = stages(PYTHON)
    assert ("PATH", '"/opt/venv/bin:$PATH"') == named(builder, "ENV")[0].pairs()[-1]
    script = named(builder, "RUN")[0].heredocs[0]
    assert "set -e" == script.text.splitlines()[0]
    entry = named(final, "COPY")[1]
    assert ('#!/bin/sh\nexec "$@"\n', False) == (entry.heredocs[0].text, entry.heredocs[0].expand)
    assert "nobody logs in" not in named(final, "RUN")[0].text
    (labels,) = named(final, "LABEL")
    assert (
        ("org.opencontainers.image.title", '"service"'),
        ("org.opencontainers.image.licenses", "'MIT'"),
    ) == labels.pairs()
    assert ["Dockerfile:8"] == [str(one.origin) for one in parse(PYTHON, path="Dockerfile").warnings]


def test_a_cuda_image() -> None:
    builder, final = stages(CUDA)
    assert ("/bin/bash", "-euxo", "pipefail", "-c") == named(builder, "SHELL")[0].words
    assert named(builder, "ADD")[0].flag("checksum") is not None
    assert ("COPY . /workspace",) == named(builder, "ONBUILD")[0].words
    assert ("shell", ("python3 train.py --lr 0.1",)) == (named(final, "CMD")[0].form, named(final, "CMD")[0].words)
