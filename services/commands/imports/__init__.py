"""Commands that bring over what people have: a vnpy user's folder, and a tree of configuration files."""
