"""Trading: orders from acceptance to their end, positions, accounts and their ledger.

Flat: three APIs with the six services that they call, and what is stored; the rooms below have the rest.
"""
