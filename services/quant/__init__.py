"""The quant's library, which no service owns and which imports none: calendar, catalogue of instruments, matching,
recorded data, the strategies' SDK, and backtests.
"""
