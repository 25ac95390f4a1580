"""An image becomes a running, isolated process tree."""
