"""Every command's declaration, by subject: importing one costs next to nothing."""
