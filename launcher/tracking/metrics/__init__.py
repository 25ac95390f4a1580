"""Where metrics come from: files that grow, event files, the machine."""
