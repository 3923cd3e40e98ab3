"""Risk: limits, exposure and the trading state; every order passes here before it is one."""
