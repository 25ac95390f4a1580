"""One run: orchestrated, supervised, recovered, run again."""
