"""A BuildPlan becomes an Image."""
