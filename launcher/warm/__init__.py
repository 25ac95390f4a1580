"""The warm helper: a process that has imported everything, stays for some minutes, and forks the next commands (decision 291)."""
