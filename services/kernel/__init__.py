"""What every service needs and none owns: server, channels, errors, settings, database, events, identity, lifecycle."""
