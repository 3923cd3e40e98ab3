"""The rules of risk: limits, exposure, profit and loss, and the check of an order. Nothing here waits.

Flat: one file for each noun of the rules, which all build on each other.
"""
