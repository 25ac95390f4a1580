"""Dockerfiles: parsed as BuildKit reads them, and turned into the steps of a plan."""
