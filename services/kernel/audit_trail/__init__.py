"""The record as a whole: written by the handler wrapper, sealed by signed checkpoints, verified and read.

Each database has one chain `main`, of units of work, commands and checkpoints, and one chain of each writer of the hot
path (`services.kernel.data.writes`), so that replicas wait for no lock of each other's. Checkpoints in `main` hold the
heads of all chains.
"""
