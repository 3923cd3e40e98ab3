"""Settings of the user service."""

from typing import ClassVar, Literal

from pydantic import Field

from services.kernel.runtime.sections import StoredSection


class UserSettings(StoredSection):
    """Registration of users, and the cost of their passwords."""

    section: ClassVar[str] = "user"
    former_section: ClassVar[str] = "users"

    default_role: Literal["guest", "user", "trader"] = Field(
        default="user", description="The role of a newly registered user; may change while running."
    )
    refuse_common_passwords: bool = Field(
        default=True, description="Refuse new passwords that guessers try first; may change while running."
    )
    verify_email: bool = Field(
        default=False,
        description="Refuse logins until the e-mail address is verified, by a token in the event "
        "`user.email_verification_requested`, which something must send; may change while running.",
    )
    argon2_time_cost: int = Field(default=2, ge=1, le=20, description="Argon2id: passes over the memory.")
    argon2_memory_kib: int = Field(default=19 * 1024, ge=8, le=1024 * 1024, description="Argon2id: memory, KiB.")
    password_queue: int = Field(
        default=128, ge=1, le=10_000, description="Passwords that may wait for the one thread that hashes them."
    )
    password_change_failures: int = Field(
        default=10, ge=1, description="Wrong old passwords within 15 minutes, after which no more are tried."
    )
