"""The rules of risk: limits, exposure, profit and loss, and the check of an order. Nothing here waits."""
