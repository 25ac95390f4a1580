"""A mount of a command as `RUN --mount`."""

from __future__ import annotations

from collections.abc import Callable

from launcher.plan.dockerfile_export.context_folder import ContextFolder
from launcher.plan.dockerfile_export.quoting import Unwritable
from runtime.build.plan import RunMount


def mount_flags(mount: RunMount, folder: ContextFolder, stage_name: Callable[[int], str]) -> str:
    """`--mount=type=…`."""
    fields: dict[str, str] = {"type": mount.kind, "target": mount.target}
    if mount.stage is not None:
        fields["from"] = stage_name(mount.stage)
    if mount.kind == "secret":
        fields["id"] = mount.source
    elif mount.kind == "bind" and mount.stage is None:
        copied = folder.files(mount.context, [(path, path, mode, sha256) for path, mode, sha256 in mount.files], "mounted")
        fields["source"] = f"{copied}/{mount.source}".rstrip("/")
    elif mount.source:
        fields["source"] = mount.source
    fields |= _of_kind(mount)
    if any(char in text for text in fields.values() for char in ',"$\\ \t\n'):
        raise Unwritable(f"a mount at `{mount.target}` has characters that no flag can hold")
    return "--mount=" + ",".join(f"{name}={text}" for name, text in fields.items() if text)


def _of_kind(mount: RunMount) -> dict[str, str]:
    match mount.kind:
        case "bind":
            return {} if mount.readonly else {"rw": "true"}
        case "tmpfs":
            return {"size": str(mount.size_bytes or "")}
        case "cache":
            shared = {"id": mount.cache_id, "sharing": mount.sharing, "readonly": "true" if mount.readonly else ""}
            return shared | _owner(mount, default_mode=0o755)
        case "secret":
            needed = {"required": "true" if mount.required else "", "env": mount.env}
            return needed | _owner(mount, default_mode=0o400)


def _owner(mount: RunMount, *, default_mode: int) -> dict[str, str]:
    return {
        "mode": f"{mount.mode:04o}" if mount.mode != default_mode else "",
        "uid": str(mount.uid or ""),
        "gid": str(mount.gid or ""),
    }
