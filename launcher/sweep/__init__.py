"""Many trials of one experiment, side by side at a place: this machine or a cluster."""
