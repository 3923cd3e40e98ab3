"""SIM, the simulated exchange: a vnpy gateway whose exchange, books and market are in this process."""
