"""Settings of the auth service."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from services.kernel.runtime.sections import StoredSection

# Superseded keys stay published this long: no access token lives longer.
LONGEST_ACCESS_TOKEN_S = 7 * 86_400


class AuthSettings(StoredSection):
    """Lifetimes of tokens, the folder of their keys, and delays of failed logins; all but keys_dir change live."""

    section: ClassVar[str] = "auth"

    access_token_s: int = Field(
        default=86_400, ge=10, le=LONGEST_ACCESS_TOKEN_S, description="Life of an access token, seconds."
    )
    refresh_token_s: int = Field(
        default=30 * 86_400, ge=10, le=400 * 86_400, description="Life of a refresh token, seconds."
    )
    session_max_s: int = Field(
        default=90 * 86_400,
        ge=60,
        le=400 * 86_400,
        description="Life of a session however often it is refreshed, seconds; then the password is asked for again.",
    )
    step_up_s: int = Field(
        default=900,
        ge=30,
        le=86_400,
        description="Time after a password in which keys are made and e-mail, password and roles changed, seconds.",
    )
    second_factor: Literal["optional", "admin", "all"] = Field(
        default="optional",
        description="Of whom an authenticator app is demanded: without one their tokens are only good to set one up.",
    )
    max_sessions: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Sessions that a user may have open; a login beyond ends the one that was refreshed longest ago.",
    )
    max_api_keys: int = Field(default=20, ge=1, le=1000, description="API keys that a user may have.")
    api_key_life_s: int = Field(
        default=90 * 86_400, ge=60, description="Life of an API key whose maker asks for none, seconds."
    )
    api_key_max_life_s: int = Field(
        default=400 * 86_400, ge=60, description="The longest life of a new API key, seconds."
    )
    keys_dir: Path | None = Field(default=None, description="The folder of the signing keys; DATA_DIR/auth/keys.")
    login_free_failures: int = Field(
        default=5, ge=1, description="Wrong passwords for one name from one address before they are slowed."
    )
    login_max_delay_s: float = Field(
        default=60, ge=1, description="The longest pause between them; it starts at 1 s and doubles."
    )
    login_address_free_failures: int = Field(
        default=100, ge=1, description="Wrong passwords from one address, for any names, before they are slowed."
    )
    login_address_max_delay_s: float = Field(default=60, ge=1, description="The longest pause for an address.")
    login_account_free_failures: int = Field(
        default=30, ge=1, description="Wrong passwords for one name from anywhere before new addresses are slowed."
    )
    login_account_max_delay_s: float = Field(
        default=5, ge=1, description="The longest pause for a name; short, so that nobody can lock its owner out."
    )
    login_forget_s: float = Field(default=60, ge=1, description="After so many seconds one failure is forgotten.")
