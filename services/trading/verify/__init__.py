"""Trading's books checked against themselves, for `redfire verify`: what is stored, by the rules that made it."""
