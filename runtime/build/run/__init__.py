"""RUN: what a command sees beside its layers, and what it changed."""
