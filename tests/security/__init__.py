"""Attacks, each of which must be refused: what a stranger on the network, a user, or a strategy's code might try.

A file or folder for each kind: `edge/` what reaches the platform from outside. Each test plays the attack against what
really runs, and then shows that somebody honest still gets an answer. A hole that is found gets its attack here first.
"""
