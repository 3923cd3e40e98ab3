"""Callers: identities, roles, tokens, and sessions that were ended."""
