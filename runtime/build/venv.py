"""The virtual environment of an image: `pyvenv.cfg` and links to the base's interpreter (library: `venv`, "How venvs work").

Wheels are their own layers over it, so this one is four files and depends on the base's Python only.
"""

from __future__ import annotations

from pathlib import Path

from runtime.build.plan import MakeVenv


def make_venv_tree(step: MakeVenv, root: Path) -> None:
    """Write the environment of *step* below the directory *root*, which becomes the layer."""
    home, _, name = step.executable.rpartition("/")
    minor = ".".join(step.version.split(".")[:2])
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
