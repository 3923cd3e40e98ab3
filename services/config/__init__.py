"""Configuration: values per environment, service and key, with schemas, versions and a stream of changes."""
