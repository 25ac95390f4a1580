"""The further nodes of a run: brought up and followed by the supervisor on the first one, their ends made one."""
