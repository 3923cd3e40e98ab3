"""Orders, positions, accounts, trades and the rules between them: nothing here waits, reads or sends.

Flat: in one step orders, positions and accounts change together, and each rule has a file of its own.
"""
