"""Where a run of a cluster is, whose word counts, and what is left of an earlier place."""
