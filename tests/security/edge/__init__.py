"""Attacks from outside on the edge: on its availability, its limits, and what it lets pass."""
