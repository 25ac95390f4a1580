"""The journal, and what of it MLflow gets to know."""
