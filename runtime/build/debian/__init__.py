"""A Debian base image from the archive itself: no registry, no apt, no root."""
