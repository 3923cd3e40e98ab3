"""The engine that runs a strategy over rows: vnpy's API, in pure Python and compiled where there is a compiler."""
