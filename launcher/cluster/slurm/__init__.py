"""Slurm: its commands, its words, its scripts."""
