"""Batches of ticks as they are on the wire: framed, and read in one pass, compiled where there is a compiler."""
