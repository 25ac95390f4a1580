"""The further nodes of a run: brought up by the supervisor on the first one, heard by it, and their ends made one."""
