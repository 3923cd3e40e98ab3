"""Revocations of sessions and API keys: their table, and the stream that services follow."""
