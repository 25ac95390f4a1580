"""The version of this package, without importlib.metadata (60 ms)."""

VERSION = "0.1.0"
