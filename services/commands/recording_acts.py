"""Records of what commands change outside of a database."""

from pathlib import Path

from services.commands.migrate import database_of
from services.kernel.runtime.kernel_sections import PlatformSettings
from services.kernel.runtime.settings import Settings


async def record_in(loaded: Settings, folder: Path, service: str) -> None:
    """Write the running command's record into the database of the service whose files in a data folder it changed.

    Where that is not there yet there is nothing to write to, and nobody who could have used the files.
    """
    database = database_of(loaded.replaced(platform=PlatformSettings(data_dir=folder)), service)
    try:
        if not await database.check():
            async with database.repositories(lambda session: session)():
                pass
    finally:
        await database.close()
