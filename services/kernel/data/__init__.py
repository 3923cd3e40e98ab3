"""Persistence: database, column types, group commit, events."""
