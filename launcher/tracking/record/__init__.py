"""What is known of a run and kept in its directory."""
