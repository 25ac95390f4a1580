"""Containers to work in: made, entered, left, reported."""
