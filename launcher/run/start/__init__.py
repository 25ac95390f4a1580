"""From the command to a supervisor."""
