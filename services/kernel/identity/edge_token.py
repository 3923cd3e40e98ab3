"""The token by which services know the edge, in `x-redfire-edge`: only from it do they take a caller's address."""

import hmac


class EdgeToken:
    """A token made from a secret that the edge and the services have; without a secret no edge is known."""

    def __init__(self, secret: str) -> None:
        self.value = hmac.digest(secret.encode(), b"the edge of redfire", "sha256").hex() if secret else ""

    def is_edge(self, token: str) -> bool:
        """Test the value of `x-redfire-edge`: did the call come by the edge?"""
        return bool(self.value) and hmac.compare_digest(token.encode(), self.value.encode())
