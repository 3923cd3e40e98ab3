"""Worker processes: the assignments they get, their supervisor, and their start, limits and exit."""
