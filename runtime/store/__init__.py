"""Blobs, layers and images on disk, addressed by content."""
