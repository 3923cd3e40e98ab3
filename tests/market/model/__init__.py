"""The tick path against a model: a real engine stream, two replicas of market that are stopped and killed, and clients.

    python -m tests.market.model --minutes 10 --seed 1

Clients go from one replica to the other. What a lossless stream got and what its gaps name is exactly what was
published, in order; a conflated one ends with the last tick of each symbol; streamed bars are those of history, which
is the same at both replicas, and these are what the ticks give when built anew.
"""
