"""Curves: in the terminal, in a line of text, as a file."""
