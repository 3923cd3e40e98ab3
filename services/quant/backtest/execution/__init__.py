"""Execution: fills of a run's orders, their prices, and the costs of trades."""
