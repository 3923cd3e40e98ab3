"""The library of simulated trading that SIM and backtests share: the catalogue and the matching."""
