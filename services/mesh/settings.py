"""Settings of the edge that `redfire up` starts."""

from pathlib import Path

from pydantic import Field, model_validator

from services.kernel.runtime.sections import BaseSection


class EdgeSettings(BaseSection):
    """The edge that `redfire up` starts."""

    section = "edge"
    tls_cert: Path | None = Field(
        default=None, description="A PEM file with the edge's certificate and those above it; read again when renewed."
    )
    tls_key: Path | None = Field(default=None, description="A PEM file with the certificate's private key.")
    tls_self_signed: bool = Field(default=False, description="TLS with a certificate of the edge's own making.")
    trusted_hops: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Proxies before the edge; the client is that many addresses from the end of `x-forwarded-for`.",
    )
    source_connections: int = Field(
        default=2000,
        ge=0,
        description="Connections from one address, of IPv6 one /64; 0: no limit. Behind proxies there is none.",
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> "EdgeSettings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls_cert is not None and self.tls_self_signed:
            raise ValueError("tls_self_signed is instead of tls_cert")
        return self
