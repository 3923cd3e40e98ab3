"""Values of configuration: JSON, their schemas, and references to secrets."""
