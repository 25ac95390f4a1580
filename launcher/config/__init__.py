"""From YAML and overrides to an ExperimentSpec."""
