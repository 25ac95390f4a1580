"""The network of a container while it is made: listeners, then the link, then who serves it (`runtime.network.proxy_supervisor`).

What a bridge and a network proxy have taken ends with the container's processes, or by `runtime.network.bridge.disconnect`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runtime.container.spec import ContainerSpec
from runtime.kernel.safe_open import open_in_root
from runtime.network import published
from runtime.network.name_servers import resolv_conf_for

if TYPE_CHECKING:
    from runtime.network.bridge import Connection

_KILLED = 9
_OWN_ADDRESS = b"127.0.1.1"
"""What /etc/hosts says of the container's own name until its address is known (Debian's)."""


class NetworkSetup:
    """Use it as a context: listeners are open inside, and a container that failed leaves no network proxy behind."""

    def __init__(self, spec: ContainerSpec) -> None:
        self._spec = spec
        self._resolv_conf = resolv_conf_for(spec.network, named=spec.network_name is not None)
        self._pasta = _pasta() if spec.network == "pasta" else None
        self._ports = published.bind(spec.publish)
        self._connection: Connection | None = None
        self.network_proxy: int | None = None
        """Who keeps the process that serves this network, a child of ours; it ends with the container."""

    @property
    def resolv_conf(self) -> str:
        return self._resolv_conf.text

    @property
    def ports(self) -> tuple[str, ...]:
        """The published ports, as a person reads them."""
        return tuple(port.label for port in self._ports)

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to connect."""
        return self._spec.network == "bridge" or bool(self._ports or self._resolv_conf.asks_proxy or self._pasta)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for port in self._ports:
            port.listener.close()
        if kind is not None and self.network_proxy is not None:
            with suppress(ProcessLookupError):
                os.kill(self.network_proxy, _KILLED)
            with suppress(ChildProcessError):
                os.waitpid(self.network_proxy, 0)

    def connect(self, pid: int, namespaces: Sequence[int]) -> None:
        """Connect the container whose init is *pid*. *namespaces*: its user and network namespace, as it hands
        them out."""
        spec = self._spec
        if spec.network == "bridge":
            from runtime.network import bridge

            self._connection = bridge.connect(
                pid, spec.container_id, network=spec.network_name, names=(spec.hostname, *spec.names)
            )
        if not (self._ports or self._resolv_conf.asks_proxy or self._pasta):
            return
        from runtime.network.network_proxy import ProxyConfig
        from runtime.network.proxy_supervisor import start_proxy

        with ExitStack() as held:
            pidfd = os.pidfd_open(pid)
            held.callback(os.close, pidfd)
            userns_fd, netns_fd = namespaces
            own_userns = None if os.geteuid() == 0 else userns_fd
            connection = self._connection
            self.network_proxy = start_proxy(
                ProxyConfig(
                    pidfd=pidfd,
                    netns_fd=netns_fd,
                    userns_fd=own_userns,
                    ports=tuple(self._ports),
                    address=None if connection is None else str(connection.address),
                    serves_names=self._resolv_conf.asks_proxy,
                    bridge=connection.bridge if connection is not None and spec.network_name is not None else None,
                    pasta=self._pasta,
                )
            )

    def name_itself(self, pid: int) -> None:
        """Write the container's address and names into its /etc/hosts: who asks for its own name announces the answer to others
        (gloo, torchrun). To be called before the program starts."""
        if self._connection is None:
            return
        root = os.open(Path("/proc", str(pid), "root"), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open(open_in_root(root, "etc/hosts", os.O_RDWR), "r+b", buffering=0) as hosts:
                text = hosts.read(1 << 20) or b""
                text = text.replace(_OWN_ADDRESS, str(self._connection.address).encode())
                names = [name for name in (self._spec.container_id, *self._spec.names) if name]
                if self._spec.network_name is not None:
                    text += f"{self._connection.address}\t{' '.join(names)}\n".encode()
                hosts.seek(0)
                hosts.truncate()
                hosts.write(text)
        finally:
            os.close(root)


def _pasta() -> str:
    from runtime.network import pasta

    return pasta.program()
