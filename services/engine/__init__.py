"""The engine: vnpy's gateways as a service, with an exchange simulator among them."""
