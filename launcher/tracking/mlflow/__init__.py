"""MLflow: its address, its API, its local server, and what a run is there."""
