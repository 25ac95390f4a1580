"""`launch -m` and `launch sweep`: a sweep while it runs, and what it found."""
