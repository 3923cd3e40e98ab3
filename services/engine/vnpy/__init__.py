"""vnpy's MainEngine without windows, and its gateways as the engine's service sees them."""
