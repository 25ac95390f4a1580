"""From a fork of the command to a bundle's program."""
