"""Who holds which GPU: locks on files that all users of a machine share."""
