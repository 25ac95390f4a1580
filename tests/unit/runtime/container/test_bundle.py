"""A ContainerSpec as OCI's config.json."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from runtime.cgroup.limits import Limits
from runtime.container.bundle import config_document, write_bundle
from runtime.container.spec import ContainerSpec
from runtime.kernel import id_maps
from runtime.kernel.id_maps import Extent
from runtime.rootfs.wanted import BindMount, TmpfsFile

MAPS = id_maps.ranged(Extent(0, 200_000, 65536), Extent(0, 300_000, 65536))


def spec(**changes: Any) -> ContainerSpec:
    fields: dict[str, Any] = {
        "container_id": "7f3a9c",
        "layers": (Path("/layers/a"), Path("/layers/b")),
        "overlay_dir": Path("/runs/7f3a9c/overlay"),
        "argv": ("python3", "train.py"),
        "env": {"PATH": "/usr/bin"},
        **changes,
    }
    return ContainerSpec(**fields)


def test_required_fields_of_the_runtime_spec_are_there() -> None:
    document = config_document(spec(), MAPS)
    assert "1.2.0" == document["ociVersion"]
    assert {"path": "rootfs", "readonly": False} == document["root"]
    assert ["python3", "train.py"] == document["process"]["args"]
    assert ["PATH=/usr/bin"] == document["process"]["env"]
    assert document["process"]["noNewPrivileges"]
    assert [{"containerID": 0, "hostID": 300_000, "size": 65536}] == document["linux"]["gidMappings"]
    assert all(mount["destination"].startswith("/") for mount in document["mounts"])


def test_network_host_has_no_network_namespace_and_binds_sys() -> None:
    document = config_document(spec(network="host"), MAPS)
    assert "network" not in [one["type"] for one in document["linux"]["namespaces"]]
    assert ["/sys"] == [mount["source"] for mount in document["mounts"] if mount["destination"] == "/sys"]


def test_limits_are_in_the_units_of_the_spec() -> None:
    resources = config_document(spec(limits=Limits(memory_bytes=1 << 30, cpus=1.5, pids=100)), MAPS)["linux"]["resources"]
    assert {"limit": 1 << 30, "swap": 1 << 30} == resources["memory"]
    assert {"quota": 150_000, "period": 100_000} == resources["cpu"]
    assert {"limit": 100} == resources["pids"]


def test_another_user_has_no_effective_capability() -> None:
    capabilities = config_document(spec(uid=1000, gid=1000), MAPS)["process"]["capabilities"]
    assert [] == capabilities["effective"] == capabilities["permitted"]
    assert "CAP_SYS_ADMIN" not in capabilities["bounding"]


def test_the_bundle_is_the_owner_s_and_holds_no_secret(tmp_path: Path) -> None:
    wanted = spec(
        env={"PATH": "/usr/bin", "TOKEN": "s3cret"},
        binds=(BindMount(Path("/srv/cifar"), "/data/cifar"),),
        tmpfs_files=(TmpfsFile("/run/secrets/TOKEN", b"s3cret"),),
    )
    config = write_bundle(wanted, MAPS, tmp_path / "bundle")
    assert 0o600 == stat.S_IMODE(config.stat().st_mode)
    assert "s3cret" not in config.read_text()
    binds = [mount for mount in json.loads(config.read_text())["mounts"] if mount["destination"] == "/data/cifar"]
    assert [["rbind", "ro", "nosuid", "nodev"]] == [mount["options"] for mount in binds]
