"""What pyproject.toml cannot say: conf/ and experiments/ stand at the top of the repository and travel inside `launcher`."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["launcher*", "runtime*"]), "launcher._conf", "launcher._experiments"],
    package_dir={"launcher._conf": "conf", "launcher._experiments": "experiments"},
    package_data={
        "launcher._conf": ["**/*.yaml"],
        "launcher._experiments": ["**/*.py", "**/*.npz"],
        "launcher._template": ["**/*"],
        "runtime.build.debian": ["keys/*.pgp"],
    },
    exclude_package_data={"": ["**/__pycache__/**"]},
)
