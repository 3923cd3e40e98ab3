"""Backtests and optimisations as a service: asked for, queued, run in processes of their own, kept, read, deleted."""
