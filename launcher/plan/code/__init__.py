"""The code of an experiment at the moment of launch: which files, and which revision."""
