"""What a service keeps: database, column types, group commit, events."""
