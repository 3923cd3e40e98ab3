"""Commands that show, record and export market data through the edge, as any client of it."""
