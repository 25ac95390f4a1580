"""What pyproject.toml cannot say: conf/ and experiments/ stand at the top of the repository and travel inside `launcher`, and the
plugin for Hydra, a distribution of its own for other environments, is in ours as well: in `hydra_plugins`, where Hydra looks."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=["launcher*", "runtime*"]),
        *("launcher._conf", "launcher._experiments"),
        *("hydra_plugins", "hydra_plugins.launch_launcher"),
    ],
    package_dir={
        "launcher._conf": "conf",
        "launcher._experiments": "experiments",
        "hydra_plugins": "hydra_plugin/hydra_plugins",
    },
    package_data={
        "launcher": ["py.typed"],
        "launcher._conf": ["**/*.yaml"],
        "launcher._experiments": ["**/*.py", "**/*.npz"],
        "launcher._template": ["**/*"],
        "runtime.build.debian": ["keys/*.pgp"],
    },
    exclude_package_data={"": ["**/__pycache__/**"]},
)
