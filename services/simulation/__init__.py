"""The library of simulated trading that SIM and backtests share: the catalogue, trading days, and the matching."""
