"""Limits and usage of a process tree (cgroups(7), v1 and v2)."""
