"""The Container Device Interface (CDI): devices of any vendor, described by files, as edits to a container."""
