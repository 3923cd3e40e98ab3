"""`redfire backtest`, `optimize` and `compare`: options, inputs, and what they print."""
