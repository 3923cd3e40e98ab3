"""Shards: which replica of a service keeps which users in its memory, and how the others learn of it."""
