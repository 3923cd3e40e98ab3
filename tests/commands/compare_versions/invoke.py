"""`redfire compare-versions` as tests call it."""

import asyncio
import json

from click.testing import CliRunner, Result

from services.cli import cli


async def compared(folder, old, new, lines, *flags, env=None) -> Result:
    """Run it on a file of these lines; another thread's, so that platforms of this process may answer."""
    file = folder / "requests.txt"
    file.write_text("\n".join(lines) + "\n")
    arguments = ["compare-versions", old, new, "--requests", str(file), *flags]
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, env={"TOKEN": "", **(env or {})})


async def document(folder, old, new, lines, *flags) -> dict:
    """The result as JSON."""
    done = await compared(folder, old, new, lines, "--json", *flags)
    assert done.exit_code in (0, 1), (done.output, done.exception)
    found = json.loads(done.stdout)
    assert found["ok"] is (done.exit_code == 0)
    return found
