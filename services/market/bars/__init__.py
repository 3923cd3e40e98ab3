"""Bars made of ticks, their streams, and indicators over them."""
