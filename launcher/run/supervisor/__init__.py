"""The process that a run belongs to, from its lease to its outcome."""
