"""Apply a MakeVenv step: `pyvenv.cfg` and links to the base's interpreter (library: `venv`, "How venvs work").

Wheels are their own layers over it, so this one is four files and depends on the base's Python only.
"""

from __future__ import annotations

from pathlib import Path

from runtime.build.cache_key import key_fields, step_key
from runtime.build.plan import MakeVenv, minor_of
from runtime.build.step_label import step_label
from runtime.layer.tree import Tree, scan
from runtime.light_dataclasses import replace
from runtime.store.records import Layer
from runtime.store.store import Store


def apply_make_venv(step: MakeVenv, *, store: Store) -> Layer:
    """The layer of *step*."""
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir()
        make_venv_tree(step, root)
        # The umask of whoever builds must not show.
        modes = {"dir": 0o755, "file": 0o644}
        tree = Tree.of(replace(entry, mode=modes.get(entry.type, entry.mode)) for entry in scan(root))
        return store.publish(step_key(step, None), root, tree, label=step_label(step), fields=key_fields(step, None))


def make_venv_tree(step: MakeVenv, root: Path) -> None:
    """Write the environment of *step* below the directory *root*, which becomes the layer."""
    home, _, name = step.executable.rpartition("/")
    minor = minor_of(step.version)
    prefix = root / step.prefix.lstrip("/")
    site_packages = prefix / "lib" / f"python{minor}" / "site-packages"
    for directory in (prefix / "bin", site_packages):
        directory.mkdir(mode=0o755, parents=True)
    config = {
        "home": home,
        "include-system-site-packages": str(step.system_site_packages).lower(),
        "version": step.version,
        "executable": step.executable,
        "command": f"{step.executable} -m venv {step.prefix}",
    }
    (prefix / "pyvenv.cfg").write_text("".join(f"{key} = {value}\n" for key, value in config.items()))
    if step.site_directories:
        # As a line of code, so that the .pth files that lie there count too (site: "Path configuration files").
        lines = "".join(f"import site; site.addsitedir({directory!r})\n" for directory in step.site_directories)
        (site_packages / "packages-of-the-base.pth").write_text(lines)
    # No `lib64 -> lib` as on some hosts: a wheel with data in lib64/ would turn the link into a directory.
    (prefix / "bin" / "python").symlink_to(step.executable)
    for alias in sorted({"python3", f"python{minor}", name} - {"python"}):
        (prefix / "bin" / alias).symlink_to("python")
