"""The end of trading days: DAY orders, settlement, margin calls."""
