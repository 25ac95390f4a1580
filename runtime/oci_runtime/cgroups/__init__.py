"""The cgroup of a bundle's container: where it says, with the limits that it asks for."""
