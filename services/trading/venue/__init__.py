"""Venues: orders on their way to the engine, reports on their way back, and making both sides agree."""
