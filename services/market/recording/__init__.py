"""Recorded ticks and bars: on disk, or on their way there.

Flat, though many: `recorder` writes (log, checkpoint, archive, bucket), `history` reads (what is archived, merged with
what is not yet), and the others are each one step of either way, with rows and columns that both use.
"""
