"""Backtests: a strategy class on recorded data, without a platform. No gRPC, no database: a library that the command
line, the optimiser and the service's workers share.
"""
