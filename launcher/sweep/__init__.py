"""Many trials of one experiment on this machine."""
