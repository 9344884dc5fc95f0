"""The command line: one small function for each command, imported when it is called."""
