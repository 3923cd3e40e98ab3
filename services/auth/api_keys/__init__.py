"""API keys: their secrets, scopes and networks, and the rules of making and ending them."""
