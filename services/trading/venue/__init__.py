"""Venues: orders on their way there, reports on their way back, and making both sides agree."""
