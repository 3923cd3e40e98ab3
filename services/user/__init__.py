"""Users: registration, profiles, passwords, and their administration."""
