"""Orders, positions, accounts, trades and the rules between them: nothing here waits, reads or sends."""
