"""HTTP: connections that are kept, proxies, trust, repeated attempts, redirects. What is asked for is the callers'."""
