"""The root file system of a bundle's container, and what is mounted in it."""
