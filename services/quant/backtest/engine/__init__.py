"""The engine that runs a strategy over rows: vnpy's API, in pure Python and compiled where there is a compiler.

Files are flat here since the compiled modules and their pure twins must share a package; core.py and _arrays.pyx are
long since a class that is compiled keeps its C types only within its module.
"""
