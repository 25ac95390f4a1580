"""Images from outside: layouts, archives and registries, and how their layers come into the store."""
