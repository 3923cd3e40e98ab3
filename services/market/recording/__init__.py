"""Recorded ticks and bars: on disk, or on their way there."""
