"""From an ExperimentSpec to a LaunchPlan in which nothing floats."""
