"""The edge: Envoy's configuration, rendered from the contract."""
