"""Proof of who calls: logins, sessions, tokens, API keys and revocations."""
