"""Hydra's launcher `launch`."""
