"""Replicas of market: each reads the engine's ticks itself, and one of them makes bars and records for all."""
