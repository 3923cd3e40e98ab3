"""Trading: orders from acceptance to their end, positions, accounts and their ledger."""
