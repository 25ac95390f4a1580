"""Which points a sweep tries, and what it learns of them. No files, no processes."""
