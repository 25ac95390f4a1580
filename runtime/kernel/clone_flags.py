"""Kinds of namespaces as flags of clone(2), unshare(2) and setns(2) (linux/sched.h)."""

from __future__ import annotations

NEWTIME = 0x00000080
NEWNS = 0x00020000
NEWCGROUP = 0x02000000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000

PARENT = 0x8000
"""CLONE_PARENT: what is cloned is a child of the cloner's own parent."""
