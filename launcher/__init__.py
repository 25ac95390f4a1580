"""What a person asked for: configuration, plan, run, record, sweep, command line."""
