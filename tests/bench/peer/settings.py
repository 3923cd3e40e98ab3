"""Settings of all four, as variables of the environment."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Addresses of the servers and of the other services, and the secret of tokens."""

    model_config = SettingsConfigDict(env_prefix="PEER_")

    database_url: str
    broker_url: str
    trading_url: str
    risk_url: str
    secret: str
