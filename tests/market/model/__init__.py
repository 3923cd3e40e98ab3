"""The tick path against a model: a real engine stream, a market process that is stopped and killed, and its clients.

    python -m tests.market.model --minutes 10 --seed 1

What a lossless stream got and what its gaps name is exactly what was published, in order; a conflated one ends with
the last tick of each symbol; streamed bars are those of history, and these are what the ticks give when built anew.
"""
