"""A sweep's trials on a cluster: worker jobs run them one after the other, the sweep's process hands them out."""
